-- Question: keep this policy, which was fetched just now
-- Key:      $1 text domain, $2 text id, $3 text policy, $4 float8 seconds that it may be kept
-- Result:   none
-- Index:    mta_sts_pkey (domain)
INSERT INTO gatepost.mta_sts (domain, id, policy, expires_at) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
ON CONFLICT (domain) DO UPDATE SET id = excluded.id, policy = excluded.policy, expires_at = excluded.expires_at, checked_at = now()
