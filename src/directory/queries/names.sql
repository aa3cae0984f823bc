-- Question: how are the users of a domain called?
-- Key:      $1 text[] the domain's spellings, $2 how many rows at most
-- Result:   local part as typed and display name, of those who have one, by local part
-- Index:    users_pkey (domain, local)
SELECT local::text, display_name::text FROM public.users WHERE domain = ANY ($1) AND display_name LIKE '_% _%' ORDER BY domain, local LIMIT $2
