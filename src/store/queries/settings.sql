-- Question: what is done with whose mail instead of what the configuration says?
-- Key:      none; $1 bigint is how many rows are read at the most
-- Result:   scope (* for everybody, a domain, an address), name, value
-- Index:    none: the whole table
SELECT scope, name, value FROM gatepost.settings ORDER BY scope, name LIMIT $1
