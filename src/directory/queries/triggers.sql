-- Question: are all triggers of ours there and enabled?
-- Key:      none
-- Result:   one row: how many there are
-- Index:    the system catalogues' own
SELECT count(*) FROM pg_catalog.pg_trigger
WHERE tgname LIKE 'gatepost\_announce\_%' AND tgenabled IN ('O', 'A')
  AND tgrelid IN (to_regclass('public.domains'), to_regclass('public.users'), to_regclass('public.aliases'), to_regclass('public.shared_mailboxes'))
