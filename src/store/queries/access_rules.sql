-- Question: the whole list, the narrowest scope first.
-- Key:      none
-- Result:   one row per rule: kind, value, scope, action, reason, seconds until it expires or NULL
-- Index:    none: the whole table
SELECT kind, value, scope, action, reason, extract(epoch FROM nullif(expires_at, 'infinity') - now())::float8
FROM gatepost.access_rules WHERE expires_at IS NULL OR expires_at > now() ORDER BY id
