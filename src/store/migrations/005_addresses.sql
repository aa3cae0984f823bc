-- Schema gatepost: where addresses lead beyond the tutorial's tables, and what Postfix is told about senders, clients and next hops.
-- Names are folded: lower case, domains in A-labels. `gatepost alias|domain|sendas|access|bcc|transport` write here.

CREATE TABLE gatepost.hosted_domains (
    domain     text NOT NULL PRIMARY KEY CHECK (domain = lower(domain) AND domain <> ''),
    kind       text NOT NULL CHECK (kind IN ('relay', 'backup', 'alias')),
    next_hop   text,
    recipients text NOT NULL DEFAULT 'any' CHECK (recipients IN ('any', 'listed')),
    target     text CHECK (target = lower(target) AND target <> domain),
    CHECK (CASE kind
               WHEN 'relay' THEN next_hop IS NOT NULL AND target IS NULL
               WHEN 'backup' THEN target IS NULL
               ELSE target IS NOT NULL AND next_hop IS NULL
           END)
);
COMMENT ON TABLE gatepost.hosted_domains IS 'Domains that are not plainly local: relayed to a next hop, kept as a backup, or another name of a domain';

CREATE TABLE gatepost.aliases (
    local       text NOT NULL CHECK (local = lower(local) AND local <> ''),
    domain      text NOT NULL CHECK (domain = lower(domain) AND domain <> ''),
    destination text NOT NULL CHECK (destination LIKE '_%@_%'),
    PRIMARY KEY (domain, local, destination)
);
CREATE INDEX aliases_by_destination ON gatepost.aliases (destination);
COMMENT ON TABLE gatepost.aliases IS 'Aliases with several or outside destinations, a row each; together with public.aliases';

CREATE TABLE gatepost.alias_patterns (
    domain      text NOT NULL CHECK (domain = lower(domain) AND domain <> ''),
    kind        text NOT NULL CHECK (kind IN ('wildcard', 'regex', 'catch-all')),
    pattern     text NOT NULL DEFAULT '',
    rank        integer NOT NULL DEFAULT 100,
    destination text NOT NULL CHECK (destination LIKE '_%@_%'),
    PRIMARY KEY (domain, kind, pattern, destination),
    CHECK ((kind = 'catch-all') = (pattern = ''))
);
COMMENT ON TABLE gatepost.alias_patterns IS 'Aliases for many local parts at once; of several that match the lowest rank counts';

CREATE TABLE gatepost.send_as (
    address text NOT NULL CHECK (address = lower(address) AND address LIKE '%@_%'),
    login   text NOT NULL CHECK (login = lower(login) AND login LIKE '_%@_%'),
    PRIMARY KEY (address, login)
);
COMMENT ON TABLE gatepost.send_as IS 'Logins that may send as an address, or as any of a domain (@domain), beside those that own it';

CREATE TABLE gatepost.access (
    subject text NOT NULL CHECK (subject IN ('sender', 'recipient', 'client', 'helo')),
    pattern text NOT NULL CHECK (pattern <> ''),
    action  text NOT NULL CHECK (action IN ('ok', 'dunno', 'reject', 'defer', 'hold', 'discard', 'warn')),
    reason  text CHECK (length(reason) <= 200 AND reason !~ '[^ -~]'),
    PRIMARY KEY (subject, pattern)
);
COMMENT ON TABLE gatepost.access IS 'What Postfix''s check_*_access tables say; the action is one of these words, the reason never more than a text';

CREATE TABLE gatepost.bcc (
    direction text NOT NULL CHECK (direction IN ('sender', 'recipient')),
    pattern   text NOT NULL CHECK (pattern = lower(pattern) AND pattern LIKE '%@_%'),
    copy_to   text NOT NULL CHECK (copy_to LIKE '_%@_%'),
    PRIMARY KEY (direction, pattern)
);
COMMENT ON TABLE gatepost.bcc IS 'Copies of the mail of an address, or of a domain (@domain)';

CREATE TABLE gatepost.transports (
    pattern   text NOT NULL PRIMARY KEY CHECK (pattern = lower(pattern) AND pattern LIKE '%@_%'),
    transport text NOT NULL CHECK (transport ~ '^[A-Za-z0-9_-]*:[^[:space:],]*$' AND transport <> ':')
);
COMMENT ON TABLE gatepost.transports IS 'transport:nexthop for an address, or for a domain (@domain)';

DO $$
DECLARE
    name text;
    key text;
BEGIN
    FOREACH name IN ARRAY ARRAY['hosted_domains', 'aliases', 'alias_patterns', 'send_as', 'access', 'bcc', 'transports'] LOOP
        -- The short tables are held whole, so that any change concerns the whole.
        key := quote_literal(CASE name WHEN 'aliases' THEN 'local || ''@'' || domain' ELSE '''*''' END);
        EXECUTE format('CREATE TRIGGER gatepost_announce_insert AFTER INSERT ON gatepost.%I
            REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%s)', name, key);
        EXECUTE format('CREATE TRIGGER gatepost_announce_update AFTER UPDATE ON gatepost.%I
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%s)', name, key);
        EXECUTE format('CREATE TRIGGER gatepost_announce_delete AFTER DELETE ON gatepost.%I
            REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%s)', name, key);
        EXECUTE format('CREATE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON gatepost.%I
            FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%s)', name, key);
    END LOOP;
END
$$;
