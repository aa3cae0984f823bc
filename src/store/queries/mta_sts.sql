-- Question: which policy of this domain is kept? And note that it was wanted.
-- Key:      $1 text the domain, A-labels, lower case
-- Result:   id, policy, seconds until it expires, seconds since DNS was asked; no row if none is kept or it has expired
-- Index:    mta_sts_pkey (domain)
WITH used AS (
    -- Once a day is enough to know what is still in use.
    UPDATE gatepost.mta_sts SET used_at = now() WHERE domain = $1 AND used_at < now() - interval '1 day'
)
SELECT id, policy, extract(epoch FROM expires_at - now())::float8, extract(epoch FROM now() - checked_at)::float8
FROM gatepost.mta_sts WHERE domain = $1 AND expires_at > now()
