-- Question: of which tables can be known in memory who is in them: are all there, may this role read them, and is every change announced?
-- Key:      none
-- Result:   one row: whether those of what Dovecot is told about users, and whether those of what logins may
-- Index:    the system catalogues' own
WITH followed AS (
    SELECT c.relname AS name
    FROM pg_catalog.pg_namespace AS n JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid
    WHERE n.nspname = 'gatepost' AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
      -- One for each kind of statement.
      AND 4 = (SELECT count(*) FROM pg_catalog.pg_trigger AS t
               WHERE t.tgrelid = c.oid AND t.tgname LIKE 'gatepost\_announce\_%' AND t.tgenabled IN ('O', 'A'))
)
SELECT 4 = (SELECT count(*) FROM followed WHERE name IN ('user_fields', 'groups', 'quota_limits', 'quota')),
       4 = (SELECT count(*) FROM followed WHERE name IN ('login_rules', 'login_locks', 'app_passwords', 'master_users'))
