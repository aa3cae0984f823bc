-- Question: whose app passwords may be of a user that is gone? Some of these are there, in a spelling that only the directory knows.
-- Key:      $1 text the login behind which to go on, $2 bigint how many
-- Result:   logins, in order
-- Index:    app_passwords_login_label_key (login, label); users is scanned once
SELECT DISTINCT a.login FROM gatepost.app_passwords AS a
WHERE a.login > $1 AND (a.expires_at IS NULL OR a.expires_at > now())
  AND NOT EXISTS (SELECT FROM public.users AS u WHERE lower(u.local) || '@' || lower(u.domain) = a.login)
ORDER BY a.login LIMIT $2
