-- Question: which verifiers are kept, behind a place in the order of the key?
-- Key:      $1 text login, $2 text mechanism: the last that is known, or two empty texts; $3 bigint how many
-- Result:   login, mechanism, and the mark of the hash that it was made with
-- Index:    scram_verifiers_pkey (login, mechanism)
SELECT login, mechanism, hash_mark FROM gatepost.scram_verifiers WHERE (login, mechanism) > ($1, $2) ORDER BY login, mechanism LIMIT $3
