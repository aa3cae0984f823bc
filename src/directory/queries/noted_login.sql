-- Question: is anything written down about what this login may, about itself?
-- Key:      $1 text login, folded
-- Result:   one row: whether there is
-- Index:    login_rules_pkey (scope), login_locks_pkey (login), app_passwords_login_label_key (login, label), master_users_pkey (master, scope)
SELECT EXISTS (SELECT FROM gatepost.login_rules WHERE scope = $1)
    OR EXISTS (SELECT FROM gatepost.login_locks WHERE login = $1)
    OR EXISTS (SELECT FROM gatepost.app_passwords WHERE login = $1)
    OR EXISTS (SELECT FROM gatepost.master_users WHERE master = $1)
