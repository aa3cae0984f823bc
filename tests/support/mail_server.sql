-- The tutorial's database `mail_server` as Gatepost finds it: domains, tables, views, rules, roles and test data.
-- Written from the description of that interface; run as the database's owner, connected to an empty database.
-- Roles are the cluster's, so they may exist already.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mail_user') THEN
        CREATE ROLE mail_user LOGIN PASSWORD 'mail_user';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mail_admin') THEN
        CREATE ROLE mail_admin LOGIN PASSWORD 'mail_admin';
    END IF;
END
$$;

CREATE DOMAIN local_part AS text NOT NULL CHECK (char_length(VALUE) <= 64);
CREATE DOMAIN domain_part AS text NOT NULL CHECK (char_length(VALUE) <= 253);
CREATE DOMAIN user_input AS text CHECK (char_length(VALUE) <= 256);

CREATE TABLE domains (
    domain domain_part PRIMARY KEY
);

CREATE TABLE users (
    domain        domain_part REFERENCES domains (domain) ON DELETE RESTRICT,
    local         local_part,
    password_hash user_input,
    display_name  user_input,
    PRIMARY KEY (domain, local),
    CHECK (char_length(local || domain) <= 254)
);

CREATE TABLE aliases (
    source_local       local_part,
    source_domain      domain_part REFERENCES domains (domain) ON DELETE RESTRICT,
    destination_local  local_part,
    destination_domain domain_part,
    PRIMARY KEY (source_local, source_domain),
    FOREIGN KEY (destination_local, destination_domain) REFERENCES users (local, domain) ON DELETE CASCADE,
    CHECK (char_length(source_local || source_domain) <= 254)
);

CREATE TABLE shared_mailboxes (
    shared_mailbox_local  local_part,
    shared_mailbox_domain domain_part,
    shared_to_local       local_part,
    shared_to_domain      domain_part,
    PRIMARY KEY (shared_mailbox_local, shared_mailbox_domain, shared_to_local, shared_to_domain),
    FOREIGN KEY (shared_mailbox_local, shared_mailbox_domain) REFERENCES users (local, domain) ON DELETE CASCADE,
    FOREIGN KEY (shared_to_local, shared_to_domain) REFERENCES users (local, domain) ON DELETE CASCADE
);

CREATE VIEW users_fqda AS
    SELECT local || '@' || domain AS fqda, password_hash, display_name FROM users;

CREATE VIEW aliases_fqda AS
    SELECT source_local || '@' || source_domain AS fqda FROM aliases;

CREATE VIEW view_shared_mailboxes AS
    SELECT shared_mailbox_local || '@' || shared_mailbox_domain AS shared_mailbox,
           shared_to_local || '@' || shared_to_domain AS shared_to,
           1 AS dummy
    FROM shared_mailboxes;

CREATE RULE view_shared_mailboxes_insert AS ON INSERT TO view_shared_mailboxes DO INSTEAD
    INSERT INTO shared_mailboxes VALUES (
        split_part(NEW.shared_mailbox, '@', 1), split_part(NEW.shared_mailbox, '@', 2),
        split_part(NEW.shared_to, '@', 1), split_part(NEW.shared_to, '@', 2));

CREATE RULE view_shared_mailboxes_delete AS ON DELETE TO view_shared_mailboxes DO INSTEAD
    DELETE FROM shared_mailboxes
    WHERE shared_mailbox_local = split_part(OLD.shared_mailbox, '@', 1)
      AND shared_mailbox_domain = split_part(OLD.shared_mailbox, '@', 2)
      AND shared_to_local = split_part(OLD.shared_to, '@', 1)
      AND shared_to_domain = split_part(OLD.shared_to, '@', 2);

CREATE VIEW view_public_mailboxes AS
    SELECT ''::text AS public_mailbox, 1 AS dummy WHERE false;

DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO mail_user, mail_admin', current_database()); END $$;
GRANT SELECT ON domains, users, aliases, users_fqda, aliases_fqda, view_shared_mailboxes, view_public_mailboxes TO mail_user;
GRANT INSERT, DELETE ON view_shared_mailboxes TO mail_user;
GRANT SELECT, INSERT, DELETE ON users TO mail_admin;
GRANT UPDATE (password_hash, display_name) ON users TO mail_admin;
GRANT SELECT ON domains, users_fqda TO mail_admin;

INSERT INTO domains VALUES ('example.com'), ('123qwe.com');
INSERT INTO users (local, domain, password_hash, display_name) VALUES
    ('alice', 'example.com', '$argon2id$v=19$m=16,t=2,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg', 'Alice'),
    ('bob', 'example.com', '$argon2id$v=19$m=16,t=2,p=1$c0swTXl5OTFiUXFZNHlFdA$2R3pzVbXY5KlQ58npSZViQ', 'Bob'),
    ('carl', '123qwe.com', '$argon2id$v=19$m=16,t=2,p=1$bE43MUFpa21iQWJWR1dCUA$sC/zUoW8YtcWghrKd645Vg', 'Carl');
INSERT INTO aliases VALUES
    ('boss', 'example.com', 'alice', 'example.com'),
    ('postmaster', 'example.com', 'alice', 'example.com'),
    ('secretary', 'example.com', 'bob', 'example.com'),
    ('orders', 'example.com', 'carl', '123qwe.com');
INSERT INTO shared_mailboxes VALUES ('alice', 'example.com', 'bob', 'example.com');
