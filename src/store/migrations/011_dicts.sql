-- Schema gatepost: what Dovecot keeps in dictionaries, and what it is told about users beyond the configuration.
-- Scopes: an address, a domain as @example.com, or * for all; the nearest counts. `gatepost quota|group` write here.

CREATE TABLE gatepost.dict_values (
    dict       text        NOT NULL,
    owner      text        NOT NULL DEFAULT '',
    key        text        COLLATE "C" NOT NULL CHECK (octet_length(key) <= 2048),
    value      text        NOT NULL,
    writer     text        NOT NULL,
    expires_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dict, owner, key)
);
CREATE INDEX dict_values_by_writer ON gatepost.dict_values (dict, writer);
CREATE INDEX dict_values_expired ON gatepost.dict_values (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE gatepost.dict_values IS 'Keys of Dovecot''s dictionaries: owner is the user of a key under priv/, empty under shared/; writer is who set it last';

-- One transaction of a dictionary, whole or not at all: 'done'; 'missing', if a number that is not there was to grow; 'full', if the
-- writer would have more than p_most keys in it. Per change: value and step NULL removes the key.
CREATE FUNCTION gatepost.change_dict(
    p_dict text, p_writer text, p_expires timestamptz, p_owners text[], p_keys text[], p_values text[], p_steps bigint[], p_most integer)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    i integer;
    is_new boolean;
    grown boolean := false;
BEGIN
    DELETE FROM gatepost.dict_values AS v WHERE v.ctid = ANY (ARRAY(
        SELECT e.ctid FROM gatepost.dict_values AS e WHERE e.expires_at <= now() LIMIT 100 FOR UPDATE SKIP LOCKED));
    FOR i IN 1 .. coalesce(cardinality(p_keys), 0) LOOP
        IF p_steps[i] IS NOT NULL THEN
            UPDATE gatepost.dict_values AS v SET value = (v.value::numeric + p_steps[i])::text, updated_at = now()
                WHERE v.dict = p_dict AND v.owner = p_owners[i] AND v.key = p_keys[i] AND v.value ~ '^-?[0-9]{1,18}$'
                  AND (v.expires_at IS NULL OR v.expires_at > now());
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'GP404';
            END IF;
        ELSIF p_values[i] IS NULL THEN
            DELETE FROM gatepost.dict_values AS v WHERE v.dict = p_dict AND v.owner = p_owners[i] AND v.key = p_keys[i];
        ELSE
            INSERT INTO gatepost.dict_values AS v (dict, owner, key, value, writer, expires_at)
                VALUES (p_dict, p_owners[i], p_keys[i], p_values[i], p_writer, p_expires)
            ON CONFLICT (dict, owner, key) DO UPDATE
                SET value = excluded.value, writer = excluded.writer, expires_at = excluded.expires_at, updated_at = now()
            RETURNING v.xmax = 0 INTO is_new;
            grown := grown OR is_new;
        END IF;
    END LOOP;
    IF grown AND (SELECT count(*) FROM gatepost.dict_values AS v WHERE v.dict = p_dict AND v.writer = p_writer) > p_most THEN
        RAISE EXCEPTION USING ERRCODE = 'GP507';
    END IF;
    RETURN 'done';
EXCEPTION
    WHEN SQLSTATE 'GP404' THEN RETURN 'missing';
    WHEN SQLSTATE 'GP507' THEN RETURN 'full';
END
$$;

CREATE TABLE gatepost.wide_shares (
    owner text NOT NULL CHECK (owner = lower(owner) AND owner LIKE '_%@_%'),
    kind  text NOT NULL CHECK (kind IN ('anyone', 'group')),
    name  text NOT NULL DEFAULT '',
    PRIMARY KEY (owner, kind, name),
    CHECK ((kind = 'anyone') = (name = ''))
);
COMMENT ON TABLE gatepost.wide_shares IS 'Who shares a mailbox to everybody or to a group, as Dovecot''s ACL plugin says; shares to one user are in public.shared_mailboxes';

CREATE TABLE gatepost.groups (
    name   text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    member text NOT NULL CHECK (member = lower(member) AND member LIKE '_%@_%'),
    PRIMARY KEY (name, member)
);
CREATE INDEX groups_by_member ON gatepost.groups (member);
COMMENT ON TABLE gatepost.groups IS 'Groups of users, to whom mailboxes can be shared (acl_groups of Dovecot)';

CREATE TABLE gatepost.quota_limits (
    scope    text   PRIMARY KEY CHECK (scope = lower(scope) AND (scope = '*' OR scope LIKE '%@_%')),
    bytes    bigint CHECK (bytes >= 0),
    messages bigint CHECK (messages >= 0),
    CHECK (bytes IS NOT NULL OR messages IS NOT NULL)
);
COMMENT ON TABLE gatepost.quota_limits IS 'How much a mailbox may hold; 0 is no limit';

CREATE TABLE gatepost.user_fields (
    scope text NOT NULL CHECK (scope = lower(scope) AND (scope = '*' OR scope LIKE '%@_%')),
    name  text NOT NULL CHECK (name ~ '^[!-<>-~][ -<>-~]{0,127}$' AND name NOT IN ('uid', 'gid', 'user')),
    value text NOT NULL CHECK (length(value) <= 4096),
    PRIMARY KEY (scope, name)
);
COMMENT ON TABLE gatepost.user_fields IS 'More that Dovecot is told about users: userdb fields, over those of the configuration; values are templates as there';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['wide_shares', 'groups', 'quota_limits', 'user_fields'] LOOP
        EXECUTE format('CREATE TRIGGER gatepost_announce_insert AFTER INSERT ON gatepost.%I
            REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%L)', name, '''*''');
        EXECUTE format('CREATE TRIGGER gatepost_announce_update AFTER UPDATE ON gatepost.%I
            REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%L)', name, '''*''');
        EXECUTE format('CREATE TRIGGER gatepost_announce_delete AFTER DELETE ON gatepost.%I
            REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%L)', name, '''*''');
        EXECUTE format('CREATE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON gatepost.%I
            FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce(%L)', name, '''*''');
    END LOOP;
END
$$;
