-- Question: remove a share.
-- Key:      $1 text[] the sharer, $2 text[] the other, each in its stored spellings
-- Result:   none; the view's DELETE rule splits the addresses
-- Index:    shared_mailboxes_pkey for the row; the view itself is read once, a row per share
DELETE FROM public.view_shared_mailboxes WHERE shared_mailbox = ANY ($1) AND shared_to = ANY ($2)
