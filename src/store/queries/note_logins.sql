-- Question: write down who logged in last, at which service, from where.
-- Key:      arrays, one element for each login and service: $1 login, $2 service, $3 seconds ago, $4 address or NULL, $5 mechanism, $6 client,
--           $7 label of the app password
-- Result:   none
-- Index:    last_logins_pkey (login, service), in whose order rows are locked
INSERT INTO gatepost.last_logins AS l (login, service, at, address, mechanism, client, app_password)
SELECT n.login, n.service, now() - make_interval(secs => n.ago), n.address::inet, n.mechanism, n.client, n.label
FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS n (login, service, ago, address, mechanism, client, label)
ORDER BY 1, 2
ON CONFLICT (login, service) DO UPDATE SET at = excluded.at, address = excluded.address, mechanism = excluded.mechanism,
    client = excluded.client, app_password = excluded.app_password
WHERE excluded.at >= l.at
