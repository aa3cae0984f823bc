-- Takes the triggers off the tutorial's tables.

DROP TRIGGER IF EXISTS gatepost_announce_insert ON public.domains;
DROP TRIGGER IF EXISTS gatepost_announce_update ON public.domains;
DROP TRIGGER IF EXISTS gatepost_announce_delete ON public.domains;
DROP TRIGGER IF EXISTS gatepost_announce_truncate ON public.domains;
DROP TRIGGER IF EXISTS gatepost_announce_insert ON public.users;
DROP TRIGGER IF EXISTS gatepost_announce_update ON public.users;
DROP TRIGGER IF EXISTS gatepost_announce_delete ON public.users;
DROP TRIGGER IF EXISTS gatepost_announce_truncate ON public.users;
DROP TRIGGER IF EXISTS gatepost_announce_insert ON public.aliases;
DROP TRIGGER IF EXISTS gatepost_announce_update ON public.aliases;
DROP TRIGGER IF EXISTS gatepost_announce_delete ON public.aliases;
DROP TRIGGER IF EXISTS gatepost_announce_truncate ON public.aliases;
DROP TRIGGER IF EXISTS gatepost_announce_insert ON public.shared_mailboxes;
DROP TRIGGER IF EXISTS gatepost_announce_update ON public.shared_mailboxes;
DROP TRIGGER IF EXISTS gatepost_announce_delete ON public.shared_mailboxes;
DROP TRIGGER IF EXISTS gatepost_announce_truncate ON public.shared_mailboxes;
