-- Question: the operator's lists, for a filter that sees the message.
-- Key:      none; $1 bigint is how many rows are read at the most
-- Result:   one row per rule: kind, value, scope, action, authenticated, points or NULL, tag or NULL, seconds until it expires or NULL
-- Index:    none: the whole table
SELECT kind, value, scope, action, authenticated, points, tag, extract(epoch FROM nullif(expires_at, 'infinity') - now())::float8
FROM gatepost.access_rules
WHERE (expires_at IS NULL OR expires_at > now()) AND kind <> 'login' AND action <> 'no-greylist' ORDER BY id LIMIT $1
