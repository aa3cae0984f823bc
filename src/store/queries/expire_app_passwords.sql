-- Question: let the app passwords of these users expire: whoever gets the address next does not inherit them.
-- Key:      $1 text[] logins
-- Result:   none
-- Index:    app_passwords_login_label_key (login, label)
UPDATE gatepost.app_passwords SET expires_at = now() WHERE login = ANY ($1) AND (expires_at IS NULL OR expires_at > now())
