-- Question: count this message once; is it within every limit?
-- Key:      the function's parameters, in its order (migrations/006_policy.sql)
-- Result:   one row: sent_messages, sent_recipients, exceeded, scope, limit_number, limit_span
-- Index:    sent_pkey (login, instance), sent_by_time (login, at), sending_limits_pkey and sending_levels_pkey (scope, key, span), login_locks_pkey
SELECT sent_messages, sent_recipients, exceeded, scope, limit_number, limit_span
FROM gatepost.count_sending($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
