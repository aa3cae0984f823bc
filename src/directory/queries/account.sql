-- Question: what may these logins, beside their passwords?
-- Key:      arrays, one element for each: $1 login, $2 its domain as @domain
-- Result:   one row for each of whom anything is written down: its number from 1 on, and one JSON object: user, domain (rules or null), lock
--           (or null), app_passwords, masteries
-- Index:    login_rules_pkey (scope), login_locks_pkey (login), app_passwords_login_label_key (login, label), master_users_pkey (master, scope)
WITH k AS (SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (login, domain, n)),
-- Most logins are in none of these tables, which is found out for all of them at once.
noted AS (
    SELECT k.n FROM k JOIN gatepost.login_rules AS r ON r.scope = k.login
    UNION SELECT k.n FROM k JOIN gatepost.login_rules AS r ON r.scope = k.domain
    UNION SELECT k.n FROM k JOIN gatepost.login_locks AS l ON l.login = k.login WHERE l.until IS NULL OR l.until > now()
    UNION SELECT k.n FROM k JOIN gatepost.app_passwords AS a ON a.login = k.login
    UNION SELECT k.n FROM k JOIN gatepost.master_users AS m ON m.master = k.login
)
SELECT k.n, jsonb_build_object(
    'user', (SELECT to_jsonb(r) FROM gatepost.login_rules AS r WHERE r.scope = k.login),
    'domain', (SELECT to_jsonb(r) FROM gatepost.login_rules AS r WHERE r.scope = k.domain),
    'lock', (SELECT jsonb_build_object('shown', l.shown, 'until', extract(epoch FROM l.until)) FROM gatepost.login_locks AS l
             WHERE l.login = k.login AND (l.until IS NULL OR l.until > now())),
    'app_passwords', coalesce((SELECT jsonb_agg(jsonb_build_object('id', a.id, 'label', a.label, 'hash', a.hash, 'services', a.services,
                                       'networks', a.networks, 'expires', extract(epoch FROM a.expires_at)))
                               FROM gatepost.app_passwords AS a WHERE a.login = k.login), '[]'),
    'masteries', coalesce((SELECT jsonb_agg(to_jsonb(m)) FROM gatepost.master_users AS m WHERE m.master = k.login), '[]'))::text
FROM k JOIN noted USING (n)
