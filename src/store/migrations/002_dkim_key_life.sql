-- Schema gatepost, version 2: the life of signing keys. What DNS said of each is kept, so that the last known answer counts while DNS is
-- away, also over a restart.

ALTER TABLE gatepost.dkim_keys
    ADD COLUMN published_at timestamptz,
    ADD COLUMN removed_at   timestamptz,
    ADD COLUMN dns          text NOT NULL DEFAULT 'unknown' CHECK (dns IN ('unknown', 'shown', 'missing', 'different')),
    ADD COLUMN dns_detail   text NOT NULL DEFAULT '',
    ADD COLUMN dns_at       timestamptz,
    ADD COLUMN seen_at      timestamptz;

-- Keys from before: their dates are guessed from those that are there; DNS is asked anew.
UPDATE gatepost.dkim_keys SET
    published_at = CASE WHEN state <> 'new' THEN coalesce(activated_at, created_at) END,
    activated_at = CASE WHEN state = 'active' THEN coalesce(activated_at, created_at) ELSE activated_at END,
    retired_at   = CASE WHEN state = 'retired' THEN coalesce(retired_at, now()) ELSE retired_at END,
    removed_at   = CASE WHEN state = 'removed' THEN now() END,
    private_key  = CASE WHEN state = 'removed' THEN '' ELSE private_key END;

ALTER TABLE gatepost.dkim_keys
    ADD CONSTRAINT dkim_keys_published CHECK (state NOT IN ('published', 'active', 'retired') OR published_at IS NOT NULL),
    ADD CONSTRAINT dkim_keys_active    CHECK (state <> 'active' OR activated_at IS NOT NULL),
    ADD CONSTRAINT dkim_keys_retired   CHECK (state <> 'retired' OR retired_at IS NOT NULL),
    -- A removed key is a name that must not be used again; the key itself is gone.
    ADD CONSTRAINT dkim_keys_removed   CHECK (state <> 'removed' OR (removed_at IS NOT NULL AND private_key = '')),
    ADD CONSTRAINT dkim_keys_private   CHECK (state = 'removed' OR private_key <> ''),
    ADD CONSTRAINT dkim_keys_dns       CHECK (dns = 'unknown' OR dns_at IS NOT NULL);
COMMENT ON TABLE gatepost.dkim_keys IS 'DKIM keys: private_key is PKCS#8 PEM or encrypted (gatepost-dkim:…), public_key the base64 of the p= tag';
COMMENT ON COLUMN gatepost.dkim_keys.dns IS 'The last answer of DNS about the key, given at dns_at; an active key signs only while it is "shown"';

-- The steps of a key's life. Whoever writes, the tool, the milter (which may write the answer of DNS and nothing else) or an admin by hand,
-- the same steps are open, and the dates follow by themselves.
CREATE FUNCTION gatepost.dkim_key_life() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.dns = 'shown' AND NEW.dns_at IS DISTINCT FROM OLD.dns_at THEN
        NEW.seen_at := NEW.dns_at;
    END IF;
    -- Seen in DNS: published.
    IF OLD.state = 'new' AND NEW.state = 'new' AND NEW.dns = 'shown' THEN
        NEW.state := 'published';
    END IF;
    IF NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    IF (OLD.state, NEW.state) NOT IN (('new', 'published'), ('published', 'active'), ('active', 'retired'), ('retired', 'active'),
                                      ('new', 'removed'), ('published', 'removed'), ('retired', 'removed')) THEN
        RAISE EXCEPTION 'a key that is % cannot become %', OLD.state, NEW.state USING ERRCODE = 'check_violation', CONSTRAINT = 'dkim_keys_life';
    END IF;
    IF NEW.state = 'active' AND NEW.dns <> 'shown' THEN
        RAISE EXCEPTION 'DNS does not show key % of %', NEW.selector, NEW.domain USING ERRCODE = 'check_violation', CONSTRAINT = 'dkim_keys_life';
    END IF;
    CASE NEW.state
        WHEN 'published' THEN NEW.published_at := now();
        WHEN 'active'    THEN NEW.activated_at := now(); NEW.retired_at := NULL;
        WHEN 'retired'   THEN NEW.retired_at := now();
        WHEN 'removed'   THEN NEW.removed_at := now(); NEW.private_key := '';
    END CASE;
    RETURN NEW;
END
$$;

CREATE TRIGGER dkim_key_life BEFORE UPDATE ON gatepost.dkim_keys
    FOR EACH ROW EXECUTE FUNCTION gatepost.dkim_key_life();
