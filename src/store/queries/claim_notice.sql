-- Question: is it on us to tell the postmaster of this?
-- Key:      $1 text kind, $2 text key, $3 float8 for how many seconds one mail is enough
-- Result:   one row if so
-- Index:    notices_pkey (kind, key)
INSERT INTO gatepost.notices AS n (kind, key) VALUES ($1, $2)
ON CONFLICT (kind, key) DO UPDATE SET at = now() WHERE n.at < now() - make_interval(secs => $3)
RETURNING 1
