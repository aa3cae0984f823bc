-- Question: how full is a mailbox, and how much may it hold?
-- Key:      $1 text login, folded
-- Result:   at most one row: bytes, messages, limit_bytes, limit_messages; the limits are the row's own, else those of the nearest scope
-- Index:    quota_pkey (login), quota_limits_pkey (scope)
SELECT q.bytes, q.messages,
       coalesce(q.limit_bytes, own.bytes, domain.bytes, everybody.bytes) AS limit_bytes,
       coalesce(q.limit_messages, own.messages, domain.messages, everybody.messages) AS limit_messages
FROM gatepost.quota AS q
LEFT JOIN gatepost.quota_limits AS own ON own.scope = q.login
LEFT JOIN gatepost.quota_limits AS domain ON domain.scope = '@' || split_part(q.login, '@', 2)
LEFT JOIN gatepost.quota_limits AS everybody ON everybody.scope = '*'
WHERE q.login = $1
