-- Question: of whom is anything written down about what a login may? For COPY.
-- Key:      none
-- Result:   scopes, some more than once: a login, or @domain; one row more than is kept in memory at most
-- Index:    none needed: all tables whole, which are short or too long to be kept
COPY (
    SELECT scope FROM gatepost.login_rules
    UNION ALL SELECT login FROM gatepost.login_locks
    UNION ALL SELECT login FROM gatepost.app_passwords
    UNION ALL SELECT master FROM gatepost.master_users
    LIMIT 100001
) TO STDOUT
