-- Question: is there a mailbox of this address?
-- Key:      $1 text[] the domain's spellings, $2 text[] the local part's spellings, folded first
-- Result:   at most one row: the local part as stored
-- Index:    users_pkey (domain, local)
SELECT local::text FROM public.users
WHERE domain = ANY ($1) AND local = ANY ($2)
ORDER BY array_position($2, local::text)
LIMIT 1
