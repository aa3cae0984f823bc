-- Question: what verifies this login's password?
-- Key:      $1 text[] the domain's spellings, $2 text[] the local part's spellings, folded first
-- Result:   at most one row: the hash, or NULL where the account never logs in
-- Index:    users_pkey (domain, local)
SELECT password_hash::text FROM public.users
WHERE domain = ANY ($1) AND local = ANY ($2)
ORDER BY array_position($2, local::text)
LIMIT 1
