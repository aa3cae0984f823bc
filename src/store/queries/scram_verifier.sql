-- Question: what proves this login's password by SCRAM?
-- Key:      $1 text the login, folded; $2 text the mechanism
-- Result:   at most one row: the verifier, and the mark of the hash that it was made with
-- Index:    scram_verifiers_pkey (login, mechanism)
SELECT verifier, hash_mark FROM gatepost.scram_verifiers WHERE login = $1 AND mechanism = $2
