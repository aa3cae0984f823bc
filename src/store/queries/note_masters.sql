-- Question: write down that masters logged in as others.
-- Key:      arrays, one element for each: $1 master, $2 login, $3 service, $4 seconds ago, $5 address or NULL
-- Result:   none
-- Index:    none: rows are added
INSERT INTO gatepost.master_logins (master, login, service, address, at)
SELECT n.master, n.login, n.service, n.address::inet, now() - make_interval(secs => n.ago)
FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::text[]) AS n (master, login, service, ago, address)
