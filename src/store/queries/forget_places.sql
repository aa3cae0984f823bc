-- Question: forget places and logins that have not been heard of for a season, and notices of long ago.
-- Key:      none
-- Result:   none
-- Index:    none: a scan now and then
WITH places AS (DELETE FROM gatepost.login_places WHERE last_seen < now() - interval '90 days'),
     habits AS (DELETE FROM gatepost.login_habits WHERE day < (now() - interval '90 days')::date)
DELETE FROM gatepost.notices WHERE at < now() - interval '90 days'
