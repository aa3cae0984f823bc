-- Question: forget wrong passwords after 30 days, networks after 90, and masters' logins after two years.
-- Key:      none
-- Result:   none
-- Index:    none: a scan now and then
WITH guesses AS (DELETE FROM gatepost.login_guesses WHERE last_at < now() - interval '30 days'),
     networks AS (DELETE FROM gatepost.known_networks WHERE last_at < now() - interval '90 days'),
     masters AS (DELETE FROM gatepost.master_logins WHERE at < now() - interval '2 years')
DELETE FROM gatepost.login_unblocks WHERE at < now() - interval '1 day'
