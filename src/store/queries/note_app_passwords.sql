-- Question: write down when app passwords were used.
-- Key:      arrays, one element for each: $1 id, $2 seconds ago, $3 address or NULL, $4 service
-- Result:   none; one that was removed meanwhile is left out
-- Index:    app_password_uses_pkey (id), app_passwords_pkey (id)
INSERT INTO gatepost.app_password_uses AS u (id, at, address, service)
SELECT n.id, now() - make_interval(secs => n.ago), n.address::inet, n.service
FROM unnest($1::bigint[], $2::float8[], $3::text[], $4::text[]) AS n (id, ago, address, service)
WHERE EXISTS (SELECT FROM gatepost.app_passwords AS a WHERE a.id = n.id)
ORDER BY 1
ON CONFLICT (id) DO UPDATE SET at = excluded.at, address = excluded.address, service = excluded.service WHERE excluded.at >= u.at
