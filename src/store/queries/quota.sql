-- Question: how full is a mailbox?
-- Key:      $1 text login
-- Result:   at most one row: bytes, messages, limit_bytes, limit_messages
-- Index:    quota_pkey (login)
SELECT bytes, messages, limit_bytes, limit_messages FROM gatepost.quota WHERE login = $1
