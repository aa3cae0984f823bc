-- Question: which secret do all hosts share under this name?
-- Key:      $1 text the name
-- Result:   at most one row: the secret
-- Index:    secrets_pkey (name)
SELECT value FROM gatepost.secrets WHERE name = $1
