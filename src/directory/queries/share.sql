-- Question: record a share, once.
-- Key:      $1 text[] the sharer, $2 text[] the other, each in its stored spellings, folded first
-- Result:   none; the view's INSERT rule splits the addresses. ON CONFLICT cannot be used with a rule: a share that is there
--           already shows as a unique violation
-- Index:    shared_mailboxes_pkey and users_pkey, by the constraints; users_pkey finds the spelling that is stored
INSERT INTO public.view_shared_mailboxes (shared_mailbox, shared_to)
VALUES (
    coalesce((SELECT form FROM unnest($1::text[]) AS form JOIN public.users
              ON domain = split_part(form, '@', 2) AND local = split_part(form, '@', 1) LIMIT 1), ($1::text[])[1]),
    coalesce((SELECT form FROM unnest($2::text[]) AS form JOIN public.users
              ON domain = split_part(form, '@', 2) AND local = split_part(form, '@', 1) LIMIT 1), ($2::text[])[1]))
