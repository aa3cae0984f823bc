-- Question: which mailboxes are there?
-- Key:      none
-- Result:   local part and domain of every user, as typed
-- Index:    none needed: the whole table (an index-only scan of users_pkey serves)
SELECT local::text, domain::text FROM public.users
