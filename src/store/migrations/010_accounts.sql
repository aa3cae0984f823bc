-- Schema gatepost: what logins may, app passwords, masters, who logged in from where, and wrong passwords. Run by `gatepost schema install`
-- inside its one transaction. Names are folded: lower case, domains in A-labels.

CREATE FUNCTION gatepost.is_services(text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT $1 <@ ARRAY['imap', 'pop3', 'submission', 'sieve'] $$;

CREATE TABLE gatepost.login_rules (
    scope         text   PRIMARY KEY CHECK (scope = lower(scope) AND scope LIKE '%@_%'),
    services      text[] CHECK (gatepost.is_services(services)),
    main_password text[] CHECK (gatepost.is_services(main_password)),
    networks      cidr[]
);
COMMENT ON TABLE gatepost.login_rules IS 'Where a login, or each of a domain (@domain), may log in: at which services, at which of them by its main password, from which networks. NULL says nothing: the domain''s rule counts, then everything';

CREATE TABLE gatepost.app_passwords (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login      text        NOT NULL CHECK (login = lower(login) AND login LIKE '_%@_%'),
    label      text        NOT NULL CHECK (label <> '' AND length(label) <= 64 AND label !~ '[[:cntrl:]]'),
    hash       text        NOT NULL UNIQUE CHECK (hash ~ '^\{SHA256\.HEX\}[0-9a-f]{64}$'),
    services   text[]      CHECK (gatepost.is_services(services)),
    networks   cidr[],
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    UNIQUE (login, label)
);
COMMENT ON TABLE gatepost.app_passwords IS 'Passwords beside the main one, each for one program. They are random, 120 bits, so that a plain SHA-256 is as good as any slow hash';

-- Apart, so that a use announces no change.
CREATE TABLE gatepost.app_password_uses (
    id      bigint      PRIMARY KEY REFERENCES gatepost.app_passwords ON DELETE CASCADE,
    at      timestamptz NOT NULL,
    address inet,
    service text        NOT NULL
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.app_password_uses IS 'When each app password was last used';

CREATE TABLE gatepost.master_users (
    master   text   NOT NULL CHECK (master = lower(master) AND master LIKE '_%@_%'),
    scope    text   NOT NULL CHECK (scope = '*' OR (scope = lower(scope) AND scope LIKE '%@_%')),
    services text[] NOT NULL DEFAULT '{imap,pop3,sieve}' CHECK (gatepost.is_services(services)),
    networks cidr[],
    PRIMARY KEY (master, scope)
);
COMMENT ON TABLE gatepost.master_users IS 'Logins that may log in as another (user*master), or as any of a domain (@domain), or as anybody (*), with their own main password';

CREATE TABLE gatepost.master_logins (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    master  text        NOT NULL,
    login   text        NOT NULL,
    service text        NOT NULL,
    address inet,
    at      timestamptz NOT NULL
);
CREATE INDEX master_logins_by_login ON gatepost.master_logins (login, at);
CREATE INDEX master_logins_by_time ON gatepost.master_logins (at);
COMMENT ON TABLE gatepost.master_logins IS 'Every login of a master as somebody else; kept for two years';

-- reason is the operator's; shown is what the user is told: NULL a general sentence, empty nothing (as for a wrong password).
ALTER TABLE gatepost.login_locks ADD COLUMN shown text CHECK (length(shown) <= 200 AND shown !~ '[[:cntrl:]]');

CREATE TABLE gatepost.last_logins (
    login        text        NOT NULL,
    service      text        NOT NULL,
    at           timestamptz NOT NULL,
    address      inet,
    mechanism    text        NOT NULL,
    client       text        NOT NULL DEFAULT '',
    app_password text        NOT NULL DEFAULT '',
    PRIMARY KEY (login, service)
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.last_logins IS 'The last login at each service; client is what the program calls itself (IMAP ID)';

CREATE TABLE gatepost.known_networks (
    login   text        NOT NULL,
    network cidr        NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (login, network)
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.known_networks IS 'Where each login has logged in from (single IPv4 addresses, /24, /64): strangers cannot lock it out there';

CREATE TABLE gatepost.login_guesses (
    login    text        NOT NULL,
    address  inet        NOT NULL,
    guess    bigint      NOT NULL,
    source   bigint      NOT NULL,
    service  text        NOT NULL,
    result   text        NOT NULL,
    times    bigint      NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    noted_at timestamptz NOT NULL,
    PRIMARY KEY (login, address, guess)
) WITH (fillfactor = 80);
CREATE INDEX login_guesses_by_time ON gatepost.login_guesses (noted_at);
CREATE INDEX login_guesses_by_address ON gatepost.login_guesses (address);
COMMENT ON TABLE gatepost.login_guesses IS 'Wrong passwords, each once: guess is a MAC of login and password under a key that only the daemon''s process (source) has, never stored; 0.0.0.0 where the address is not known';

CREATE TABLE gatepost.login_unblocks (
    id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text        NOT NULL,
    at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE gatepost.login_unblocks IS 'Logins, addresses and networks whose wrong passwords are to be forgotten by every daemon';

DO $$
DECLARE
    name text;
    key text;
BEGIN
    FOREACH name IN ARRAY ARRAY['login_rules', 'app_passwords', 'master_users', 'login_locks'] LOOP
        key := quote_literal(CASE name WHEN 'login_rules' THEN 'scope' WHEN 'master_users' THEN 'master' ELSE 'login' END);
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
