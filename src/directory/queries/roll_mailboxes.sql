-- Question: which mailboxes are there? For COPY: a million of them pass as text, row by row.
-- Key:      none
-- Result:   local part and domain, as typed
-- Index:    none needed: the whole table (an index-only scan of users_pkey serves)
COPY (SELECT local, domain FROM public.users) TO STDOUT
