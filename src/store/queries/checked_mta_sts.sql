-- Question: note that DNS was asked just now, and named the policy that is kept
-- Key:      $1 text domain
-- Result:   none
-- Index:    mta_sts_pkey (domain)
UPDATE gatepost.mta_sts SET checked_at = now() WHERE domain = $1
