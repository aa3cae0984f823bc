-- Question: has this login logged in from there before?
-- Key:      $1 text login, $2 text[] networks
-- Result:   those of the networks where it has
-- Index:    known_networks_pkey (login, network)
SELECT network::text FROM gatepost.known_networks WHERE login = $1 AND network = ANY ($2::cidr[])
