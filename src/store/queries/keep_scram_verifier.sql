-- Question: none; keeps a verifier, unless one made with the same hash is there (another host was first).
-- Key:      $1 text the login, folded; $2 text the mechanism; $3 text the verifier; $4 bytea the mark of its hash
-- Result:   none
-- Index:    scram_verifiers_pkey (login, mechanism)
INSERT INTO gatepost.scram_verifiers AS kept (login, mechanism, verifier, hash_mark) VALUES ($1, $2, $3, $4)
ON CONFLICT (login, mechanism) DO UPDATE SET verifier = excluded.verifier, hash_mark = excluded.hash_mark, made_at = now()
WHERE kept.hash_mark <> excluded.hash_mark
