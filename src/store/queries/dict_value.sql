-- Question: what is the value of a key of a dictionary?
-- Key:      $1 text dictionary, $2 text owner, $3 text key
-- Result:   at most one row: value
-- Index:    dict_values_pkey (dict, owner, key)
SELECT value FROM gatepost.dict_values WHERE dict = $1 AND owner = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > now())
