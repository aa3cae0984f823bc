-- Question: which policies in use should be looked at again? Each is given to one host only.
-- Key:      $1 float8 seconds after which DNS is asked again, $2 float8 seconds after which a policy that nobody asked for is left to
--           expire, $3 bigint how many at the most
-- Result:   domain
-- Index:    mta_sts_by_check (checked_at)
UPDATE gatepost.mta_sts SET checked_at = now() WHERE domain IN (
    SELECT domain FROM gatepost.mta_sts
    WHERE checked_at < now() - make_interval(secs => $1) AND expires_at > now() AND used_at > now() - make_interval(secs => $2)
    ORDER BY checked_at LIMIT $3 FOR UPDATE SKIP LOCKED
) RETURNING domain
