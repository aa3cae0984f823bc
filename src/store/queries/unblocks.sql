-- Question: whose wrong passwords are to be forgotten?
-- Key:      $1 bigint the last one that is known
-- Result:   id and key, in order
-- Index:    login_unblocks_pkey (id)
SELECT id, key FROM gatepost.login_unblocks WHERE id > $1 ORDER BY id LIMIT 1000
