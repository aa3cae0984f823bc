-- Question: which verifiers does this login have?
-- Key:      $1 text the login, folded
-- Result:   one row for each: the mechanism, and the mark of the hash that it was made with
-- Index:    scram_verifiers_pkey (login, mechanism)
SELECT mechanism, hash_mark FROM gatepost.scram_verifiers WHERE login = $1
