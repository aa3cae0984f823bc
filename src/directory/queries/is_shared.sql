-- Question: is there such a share?
-- Key:      $1 text[] the sharer, $2 text[] the other, each in its stored spellings
-- Result:   one row, 1, if there is
-- Index:    none: the view joins each address out of two columns; it is read once, a row per share
SELECT 1 FROM public.view_shared_mailboxes WHERE shared_mailbox = ANY ($1) AND shared_to = ANY ($2) LIMIT 1
