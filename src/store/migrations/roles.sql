-- The least-privilege roles, one per daemon, and what each may. Run at every `gatepost schema install`; idempotent.
-- Roles belong to the whole cluster. They get no password here: `peer` with pg_ident.conf, or `--passwords DIR`.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['gatepost_milter', 'gatepost_auth', 'gatepost_policy'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT CONNECTION LIMIT 100', role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- made a moment ago, for another database of the cluster
            END;
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
        EXECUTE format('GRANT USAGE ON SCHEMA gatepost TO %I', role);
        -- Addresses, never hashes.
        EXECUTE format('GRANT SELECT ON public.domains, public.aliases TO %I', role);
        EXECUTE format('GRANT SELECT (domain, local, display_name) ON public.users TO %I', role);
        EXECUTE format('GRANT SELECT ON gatepost.schema_version TO %I', role);
    END LOOP;
END
$$;

-- Only the auth daemon reads password hashes, and it keeps the shares of Dovecot's ACL plugin.
GRANT SELECT ON public.users TO gatepost_auth;
GRANT SELECT, INSERT, DELETE ON public.view_shared_mailboxes TO gatepost_auth;

-- Only the milter reads signing keys, and it writes down what DNS says of them.
GRANT SELECT, UPDATE (dns, dns_detail, dns_at) ON gatepost.dkim_keys TO gatepost_milter;

-- The policy daemon counts.
GRANT SELECT, INSERT, DELETE ON gatepost.sent TO gatepost_policy;

-- The policy daemon keeps greylist, counts, habits and locks, and reads lists and quotas; everybody reads the lists.
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.greylist, gatepost.greylist_clients, gatepost.sending_levels, gatepost.login_habits,
    gatepost.login_places, gatepost.notices TO gatepost_policy;
GRANT SELECT, INSERT ON gatepost.login_locks TO gatepost_policy;
GRANT SELECT ON gatepost.sending_limits, gatepost.quota TO gatepost_policy;
GRANT SELECT ON gatepost.access_rules, gatepost.access_version TO gatepost_policy, gatepost_milter;
-- The auth daemon writes what Dovecot says of quotas, and keeps locked logins out.
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.quota TO gatepost_auth;
GRANT SELECT ON gatepost.login_locks TO gatepost_auth;
-- The milter reads what is excepted from DMARC.
GRANT SELECT ON gatepost.dmarc_overrides, gatepost.forwarders TO gatepost_milter;

-- The milter collects and sends DMARC reports.
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.dmarc_reports, gatepost.dmarc_rows, gatepost.dmarc_batches TO gatepost_milter;

-- Where addresses lead: every daemon asks, and so does a Postfix daemon that still connects as the tutorial's role.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['gatepost_milter', 'gatepost_auth', 'gatepost_policy', 'mail_user'] LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            EXECUTE format('GRANT USAGE ON SCHEMA gatepost TO %I', role);
            EXECUTE format('GRANT SELECT ON gatepost.hosted_domains, gatepost.aliases, gatepost.alias_patterns, gatepost.send_as, gatepost.access, gatepost.bcc, gatepost.transports TO %I', role);
        END IF;
    END LOOP;
END
$$;
-- Who shares a mailbox may be allowed to send as its owner.
GRANT SELECT ON public.view_shared_mailboxes TO gatepost_policy;

-- The policy daemon keeps MTA-STS policies.
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.mta_sts TO gatepost_policy;

-- The milter learns, and keeps what it judged; old rows of the log go by gatepost.forget_training alone.
GRANT SELECT, INSERT ON gatepost.training_log TO gatepost_milter;
GRANT SELECT ON gatepost.training_epoch TO gatepost_milter;
GRANT SELECT, INSERT, DELETE ON gatepost.judged_messages TO gatepost_milter;
GRANT SELECT, INSERT, UPDATE ON gatepost.models TO gatepost_milter;
GRANT EXECUTE ON FUNCTION gatepost.forget_training(timestamptz) TO gatepost_milter;
-- The auth daemon decides by rules, app passwords and locks; a daemon that still connects as the tutorial's role decides by them too.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['gatepost_auth', 'mail_user'] LOOP
        IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            EXECUTE format('GRANT USAGE ON SCHEMA gatepost TO %I', role);
            EXECUTE format('GRANT SELECT ON gatepost.login_rules, gatepost.app_passwords, gatepost.master_users, gatepost.login_locks TO %I', role);
        END IF;
    END LOOP;
END
$$;
-- It writes down who logged in and who tried, and lets the app passwords of users that are gone expire.
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.app_password_uses, gatepost.last_logins, gatepost.known_networks, gatepost.login_guesses TO gatepost_auth;
GRANT SELECT, INSERT, DELETE ON gatepost.master_logins TO gatepost_auth;
GRANT SELECT, DELETE ON gatepost.login_unblocks TO gatepost_auth;
GRANT UPDATE (expires_at) ON gatepost.app_passwords TO gatepost_auth;
-- The auth daemon keeps Dovecot's dictionaries, and tells what users are; the policy daemon needs their quotas.
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.dict_values, gatepost.wide_shares TO gatepost_auth;
GRANT SELECT ON gatepost.groups, gatepost.quota_limits, gatepost.user_fields TO gatepost_auth;
GRANT SELECT ON gatepost.quota_limits TO gatepost_policy;
-- A daemon that still connects as the tutorial's role knows them too.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'mail_user') THEN
        GRANT SELECT ON gatepost.wide_shares, gatepost.groups, gatepost.quota_limits, gatepost.quota, gatepost.user_fields TO mail_user;
    END IF;
END
$$;
-- The milter writes the history and forgets it; of what stands there it sees when it was, and nothing else.
GRANT INSERT, DELETE, SELECT (id, at) ON gatepost.history_messages TO gatepost_milter;
GRANT INSERT ON gatepost.history_recipients TO gatepost_milter;
-- Only the auth daemon keeps what SCRAM needs of passwords. To give old hashes up for better ones at a login (`rehash`) it needs more, which is
-- not granted here: GRANT UPDATE (password_hash) ON public.users TO gatepost_auth.
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.scram_verifiers TO gatepost_auth;
GRANT SELECT ON gatepost.secrets TO gatepost_auth;
-- The milter reads settings, remembers correspondents and scores, keeps the quarantine, and asks the greylist for mail that looks like spam.
GRANT SELECT ON gatepost.settings TO gatepost_milter;
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.correspondents, gatepost.sent_messages, gatepost.client_scores TO gatepost_milter;
GRANT SELECT ON gatepost.correspondents, gatepost.client_scores TO gatepost_policy;
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.greylist, gatepost.greylist_clients TO gatepost_milter;
GRANT SELECT, INSERT, UPDATE, DELETE ON gatepost.quarantine TO gatepost_milter;
