-- Question: which keys of a dictionary are at or behind one and before another?
-- Key:      $1 text dictionary, $2 text owner, $3 text the first key, $4 text the one behind the last, $5 bigint at most so many
-- Result:   key, value, in the order of keys
-- Index:    dict_values_pkey (dict, owner, key)
SELECT key, value FROM gatepost.dict_values
WHERE dict = $1 AND owner = $2 AND key >= $3 AND key < $4 AND (expires_at IS NULL OR expires_at > now())
ORDER BY key LIMIT $5
