-- Question: is this report still ours to send? From here on it may be on its way, and nobody sends it again.
-- Key:      $1 date, $2 text domain, $3 text the claim
-- Result:   none; one row affected if it is
-- Index:    dmarc_reports_pkey (day, domain)
UPDATE gatepost.dmarc_reports SET state = 'sending', changed_at = now()
WHERE day = $1 AND domain = $2 AND claim = $3 AND state = 'claimed'
