-- Schema gatepost, version 1: signing keys and counters. Run by `gatepost schema install` inside its one transaction.

CREATE TABLE gatepost.dkim_keys (
    domain       text        NOT NULL CHECK (domain = lower(domain) AND domain <> ''),
    selector     text        NOT NULL CHECK (selector ~ '^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$'),
    algorithm    text        NOT NULL CHECK (algorithm IN ('rsa-sha256', 'ed25519-sha256')),
    private_key  text        NOT NULL,
    public_key   text        NOT NULL,
    state        text        NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'published', 'active', 'retired', 'removed')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    retired_at   timestamptz,
    PRIMARY KEY (domain, selector)
);
COMMENT ON TABLE gatepost.dkim_keys IS 'DKIM keys: private_key is PKCS#8 PEM, public_key the base64 of the p= tag';

CREATE TABLE gatepost.sent (
    login      text        NOT NULL,
    instance   text        NOT NULL,
    recipients integer     NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (login, instance)
);
CREATE INDEX sent_by_time ON gatepost.sent (login, at);
CREATE INDEX sent_at ON gatepost.sent (at);
COMMENT ON TABLE gatepost.sent IS 'One row per message that a login sent, for the outgoing rate limit';

-- Announces changes as `TABLE KEY` on channel gatepost; more than 100 rows in one statement as `TABLE *`.
CREATE FUNCTION gatepost.announce() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key text;
    keys text[] := '{}';
BEGIN
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        EXECUTE format('SELECT array_agg(k) FROM (SELECT %s AS k FROM new_rows LIMIT 101) AS changed', TG_ARGV[0]) INTO keys;
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        EXECUTE format('SELECT $1 || array_agg(k) FROM (SELECT %s AS k FROM old_rows LIMIT 101) AS changed', TG_ARGV[0]) INTO keys USING keys;
    END IF;
    IF TG_OP = 'TRUNCATE' OR cardinality(keys) > 100 THEN
        PERFORM pg_notify('gatepost', TG_TABLE_NAME || ' *');
        RETURN NULL;
    END IF;
    FOR key IN SELECT DISTINCT unnest(keys) LOOP
        PERFORM pg_notify('gatepost', TG_TABLE_NAME || ' ' || key);
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- Never in the way of whoever writes: a change that is not announced counts after database.cache-ttl-notified at the latest.
    RAISE WARNING 'gatepost.announce: %', SQLERRM;
    RETURN NULL;
END
$$;

CREATE TRIGGER gatepost_announce_insert AFTER INSERT ON gatepost.dkim_keys
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE TRIGGER gatepost_announce_update AFTER UPDATE ON gatepost.dkim_keys
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE TRIGGER gatepost_announce_delete AFTER DELETE ON gatepost.dkim_keys
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
