-- The database `mail_server` as the tutorial has it: domains, tables, views, rules and roles, without data. For a machine that has none;
-- written from the description of that interface. Run as `postgres`, connected to the new database. Gatepost's own objects are elsewhere.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['mail_user', 'mail_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            -- Without a password: `ALTER ROLE mail_admin PASSWORD …` when Nextcloud comes.
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
    END LOOP;
END
$$;

CREATE DOMAIN public.local_part AS text NOT NULL CHECK (char_length(VALUE) <= 64);
CREATE DOMAIN public.domain_part AS text NOT NULL CHECK (char_length(VALUE) <= 253);
CREATE DOMAIN public.user_input AS text CHECK (char_length(VALUE) <= 256);

CREATE TABLE public.domains (
    domain public.domain_part PRIMARY KEY
);

CREATE TABLE public.users (
    domain        public.domain_part REFERENCES public.domains (domain) ON DELETE RESTRICT,
    local         public.local_part,
    password_hash public.user_input,
    display_name  public.user_input,
    PRIMARY KEY (domain, local),
    CHECK (char_length(local || domain) <= 254)
);

CREATE TABLE public.aliases (
    source_local       public.local_part,
    source_domain      public.domain_part REFERENCES public.domains (domain) ON DELETE RESTRICT,
    destination_local  public.local_part,
    destination_domain public.domain_part,
    PRIMARY KEY (source_local, source_domain),
    FOREIGN KEY (destination_local, destination_domain) REFERENCES public.users (local, domain) ON DELETE CASCADE,
    CHECK (char_length(source_local || source_domain) <= 254)
);

CREATE TABLE public.shared_mailboxes (
    shared_mailbox_local  public.local_part,
    shared_mailbox_domain public.domain_part,
    shared_to_local       public.local_part,
    shared_to_domain      public.domain_part,
    PRIMARY KEY (shared_mailbox_local, shared_mailbox_domain, shared_to_local, shared_to_domain),
    FOREIGN KEY (shared_mailbox_local, shared_mailbox_domain) REFERENCES public.users (local, domain) ON DELETE CASCADE,
    FOREIGN KEY (shared_to_local, shared_to_domain) REFERENCES public.users (local, domain) ON DELETE CASCADE
);

CREATE VIEW public.users_fqda AS
    SELECT local || '@' || domain AS fqda, password_hash, display_name FROM public.users;

CREATE VIEW public.aliases_fqda AS
    SELECT source_local || '@' || source_domain AS fqda FROM public.aliases;

CREATE VIEW public.view_shared_mailboxes AS
    SELECT shared_mailbox_local || '@' || shared_mailbox_domain AS shared_mailbox,
           shared_to_local || '@' || shared_to_domain AS shared_to,
           1 AS dummy
    FROM public.shared_mailboxes;

CREATE RULE view_shared_mailboxes_insert AS ON INSERT TO public.view_shared_mailboxes DO INSTEAD
    INSERT INTO public.shared_mailboxes VALUES (
        split_part(NEW.shared_mailbox, '@', 1), split_part(NEW.shared_mailbox, '@', 2),
        split_part(NEW.shared_to, '@', 1), split_part(NEW.shared_to, '@', 2));

CREATE RULE view_shared_mailboxes_delete AS ON DELETE TO public.view_shared_mailboxes DO INSTEAD
    DELETE FROM public.shared_mailboxes
    WHERE shared_mailbox_local = split_part(OLD.shared_mailbox, '@', 1)
      AND shared_mailbox_domain = split_part(OLD.shared_mailbox, '@', 2)
      AND shared_to_local = split_part(OLD.shared_to, '@', 1)
      AND shared_to_domain = split_part(OLD.shared_to, '@', 2);

CREATE VIEW public.view_public_mailboxes AS
    SELECT ''::text AS public_mailbox, 1 AS dummy WHERE false;

GRANT SELECT ON public.domains, public.users, public.aliases, public.users_fqda, public.aliases_fqda, public.view_shared_mailboxes,
    public.view_public_mailboxes TO mail_user;
GRANT INSERT, DELETE ON public.view_shared_mailboxes TO mail_user;
GRANT SELECT, INSERT, DELETE ON public.users TO mail_admin;
GRANT UPDATE (password_hash, display_name) ON public.users TO mail_admin;
GRANT SELECT ON public.domains, public.users_fqda TO mail_admin;
