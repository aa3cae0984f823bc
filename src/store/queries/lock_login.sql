-- Question: lock a login; who is locked already stays so.
-- Key:      $1 text login, $2 text reason
-- Result:   none
-- Index:    login_locks_pkey (login)
WITH locked AS (
    INSERT INTO gatepost.login_locks (login, reason) VALUES ($1, $2) ON CONFLICT (login) DO NOTHING RETURNING login
)
SELECT pg_notify('gatepost', 'login_locks ' || login) FROM locked
