-- Question: count this message once; what has the login sent within the window?
-- Key:      $1 text login, $2 text instance, $3 int recipients, $4 float8 window in seconds
-- Result:   one row: messages, recipients, this one included
-- Index:    sent_pkey (login, instance) for the insert, sent_by_time (login, at) for the sum
WITH counted AS (
    INSERT INTO gatepost.sent (login, instance, recipients) VALUES ($1, $2, $3)
    ON CONFLICT (login, instance) DO NOTHING
    RETURNING recipients
)
SELECT count(*)::bigint, coalesce(sum(recipients), 0)::bigint FROM (
    -- This statement does not see its own insert, so the two never overlap.
    SELECT recipients FROM gatepost.sent WHERE login = $1 AND at > now() - make_interval(secs => $4)
    UNION ALL
    SELECT recipients FROM counted
) AS message
