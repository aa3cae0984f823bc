-- Question: who shares a mailbox to whom?
-- Key:      none; the table has a row per share and is held whole
-- Result:   one row per share: the sharer and the other, each local@domain as stored
-- Index:    none needed: the whole table
SELECT shared_mailbox::text, shared_to::text FROM public.view_shared_mailboxes
