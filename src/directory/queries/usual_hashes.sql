-- Question: what do the password hashes of a domain look like?
-- Key:      $1 text[] the domain's spellings
-- Result:   up to 50 hashes
-- Index:    users_pkey (domain, local)
SELECT password_hash::text FROM public.users WHERE domain = ANY ($1) AND password_hash <> '' LIMIT 50
