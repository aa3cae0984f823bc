-- Question: write down where logins log in from.
-- Key:      arrays, one element for each: $1 login, $2 network, $3 seconds ago
-- Result:   none
-- Index:    known_networks_pkey (login, network); a network that is known is touched once an hour
INSERT INTO gatepost.known_networks AS k (login, network, last_at)
SELECT n.login, n.network::cidr, now() - make_interval(secs => n.ago) FROM unnest($1::text[], $2::text[], $3::float8[]) AS n (login, network, ago)
ORDER BY 1, 2
ON CONFLICT (login, network) DO UPDATE SET last_at = excluded.last_at WHERE k.last_at < excluded.last_at - interval '1 hour'
