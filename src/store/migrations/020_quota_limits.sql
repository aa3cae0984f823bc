-- Schema gatepost: a mailbox's own limits in gatepost.quota are announced as every other thing that Dovecot is told about users. How full
-- mailboxes are is not, which changes with every message: the conditions are judged where the row is written, and nothing is run then.

CREATE FUNCTION gatepost.announce_all() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The same for every row of a transaction, so that it is sent once.
    PERFORM pg_notify('gatepost', TG_TABLE_NAME || ' *');
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- As in gatepost.announce: never in the way of whoever writes.
    RAISE WARNING 'gatepost.announce_all: %', SQLERRM;
    RETURN NULL;
END
$$;

CREATE TRIGGER gatepost_announce_insert AFTER INSERT ON gatepost.quota FOR EACH ROW
    WHEN (NEW.limit_bytes IS NOT NULL OR NEW.limit_messages IS NOT NULL) EXECUTE FUNCTION gatepost.announce_all();
CREATE TRIGGER gatepost_announce_update AFTER UPDATE ON gatepost.quota FOR EACH ROW
    WHEN ((OLD.limit_bytes, OLD.limit_messages) IS DISTINCT FROM (NEW.limit_bytes, NEW.limit_messages)
          OR (OLD.login <> NEW.login AND (NEW.limit_bytes IS NOT NULL OR NEW.limit_messages IS NOT NULL)))
    EXECUTE FUNCTION gatepost.announce_all();
CREATE TRIGGER gatepost_announce_delete AFTER DELETE ON gatepost.quota FOR EACH ROW
    WHEN (OLD.limit_bytes IS NOT NULL OR OLD.limit_messages IS NOT NULL) EXECUTE FUNCTION gatepost.announce_all();
CREATE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON gatepost.quota
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce_all();

-- Who has limits of his own, of a million mailboxes.
CREATE INDEX quota_limited ON gatepost.quota (login) WHERE limit_bytes IS NOT NULL OR limit_messages IS NOT NULL;
