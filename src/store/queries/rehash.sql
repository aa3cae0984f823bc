-- Question: none; gives a login another hash, if it still has the one that its password was just verified with.
-- Key:      $1 text[] the domain's spellings, $2 text[] the local part's spellings, $3 text the hash it has, $4 text the new one
-- Result:   none; no row is changed where somebody else changed the hash meanwhile
-- Index:    users_pkey (domain, local)
UPDATE public.users SET password_hash = $4 WHERE domain = ANY ($1) AND local = ANY ($2) AND password_hash = $3
