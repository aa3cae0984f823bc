-- Undoes `gatepost schema install`: triggers, schema with everything in it, and what the roles were granted. The roles themselves
-- are dropped one by one afterwards, since another database of the cluster may still use them.

DROP SCHEMA IF EXISTS gatepost CASCADE;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['gatepost_milter', 'gatepost_auth', 'gatepost_policy'] LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            EXECUTE format('REVOKE ALL ON public.domains, public.users, public.aliases, public.view_shared_mailboxes FROM %I', role);
            EXECUTE format('REVOKE ALL (domain, local, display_name) ON public.users FROM %I', role);
            EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM %I', current_database(), role);
        END IF;
    END LOOP;
END
$$;
