-- Schema gatepost: what the operator excepts from DMARC. Run by `gatepost schema install` inside its one transaction.

CREATE TABLE gatepost.dmarc_overrides (
    domain     text        PRIMARY KEY CHECK (domain = lower(domain) AND domain <> '' AND length(domain) <= 253),
    policy     text        NOT NULL CHECK (policy IN ('none', 'quarantine', 'reject', 'default')),
    comment    text        NOT NULL DEFAULT '' CHECK (length(comment) <= 256),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE gatepost.dmarc_overrides IS
    'What becomes of mail that fails DMARC, by the domain in From, for it and all below it, instead of what its record asks for; default: as the record says';

CREATE TABLE gatepost.forwarders (
    kind             text        NOT NULL CHECK (kind IN ('network', 'spf', 'dkim', 'name')),
    value            text        NOT NULL,
    recipient_domain text        NOT NULL DEFAULT '*' CHECK (recipient_domain = lower(recipient_domain) AND recipient_domain <> ''),
    comment          text        NOT NULL DEFAULT '' CHECK (length(comment) <= 256),
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, value, recipient_domain),
    -- One spelling for each network: the text of cidr, as 192.0.2.0/24.
    CHECK (CASE kind WHEN 'network' THEN value::cidr::text = value
                     ELSE value = lower(value) AND value <> '' AND length(value) <= 253 END)
);
COMMENT ON TABLE gatepost.forwarders IS
    'Hosts that forward mail of others to us, whose mail is not refused for DMARC; recipient_domain: for which of our domains, * for all';

-- Announced as every change is; what is asked for is the whole list, so that the key does not matter.
CREATE TRIGGER gatepost_announce_insert AFTER INSERT ON gatepost.dmarc_overrides
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE TRIGGER gatepost_announce_update AFTER UPDATE ON gatepost.dmarc_overrides
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE TRIGGER gatepost_announce_delete AFTER DELETE ON gatepost.dmarc_overrides
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON gatepost.dmarc_overrides
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');

CREATE TRIGGER gatepost_announce_insert AFTER INSERT ON gatepost.forwarders
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('value');
CREATE TRIGGER gatepost_announce_update AFTER UPDATE ON gatepost.forwarders
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('value');
CREATE TRIGGER gatepost_announce_delete AFTER DELETE ON gatepost.forwarders
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('value');
CREATE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON gatepost.forwarders
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('value');
