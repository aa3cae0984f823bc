-- Question: forget wrong passwords after 30 days, networks after 90, masters' logins after two years, and let the app passwords of users that
--           are gone expire, so that whoever gets the address next does not inherit them.
-- Key:      none
-- Result:   none
-- Index:    none: a scan now and then
WITH guesses AS (DELETE FROM gatepost.login_guesses WHERE last_at < now() - interval '30 days'),
     networks AS (DELETE FROM gatepost.known_networks WHERE last_at < now() - interval '90 days'),
     masters AS (DELETE FROM gatepost.master_logins WHERE at < now() - interval '2 years'),
     unblocks AS (DELETE FROM gatepost.login_unblocks WHERE at < now() - interval '1 day')
UPDATE gatepost.app_passwords AS a SET expires_at = now()
WHERE (a.expires_at IS NULL OR a.expires_at > now())
  AND NOT EXISTS (SELECT FROM public.users AS u WHERE lower(u.local) || '@' || lower(u.domain) = a.login)
