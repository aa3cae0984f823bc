-- Question: take down how full a mailbox is; what is NULL stays.
-- Key:      $1 text login, $2 bigint bytes, $3 bigint messages, $4 bigint and $5 bigint what is added to each
-- Result:   none
-- Index:    quota_pkey (login)
INSERT INTO gatepost.quota AS q (login, bytes, messages)
VALUES ($1, greatest(0, coalesce($2, 0) + $4), greatest(0, coalesce($3, 0) + $5))
ON CONFLICT (login) DO UPDATE SET
    bytes = greatest(0, coalesce($2, q.bytes) + $4),
    messages = greatest(0, coalesce($3, q.messages) + $5),
    updated_at = now()
