-- Question: none; forgets verifiers, unless another was made meanwhile.
-- Key:      arrays, one element for each: $1 login, $2 mechanism, $3 the mark of the hash that it was made with
-- Result:   none
-- Index:    scram_verifiers_pkey (login, mechanism)
DELETE FROM gatepost.scram_verifiers AS kept
USING unnest($1::text[], $2::text[], $3::bytea[]) AS gone (login, mechanism, hash_mark)
WHERE kept.login = gone.login AND kept.mechanism = gone.mechanism AND kept.hash_mark = gone.hash_mark
