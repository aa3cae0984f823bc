-- Question: give a report back that could not be sent now and certainly was not. It is due again later, until the second day after its own
-- is over: for a day at least, whatever the hour it was due; then it has failed.
-- Key:      $1 date, $2 text domain, $3 text the claim, $4 float8 seconds from now, $5 text detail
-- Result:   the new state, if the claim still counts
-- Index:    dmarc_reports_pkey (day, domain)
UPDATE gatepost.dmarc_reports
SET state = CASE WHEN now() + make_interval(secs => $4) < (day + 3)::timestamp AT TIME ZONE 'UTC' THEN 'collected' ELSE 'failed' END,
    due_at = now() + make_interval(secs => $4), detail = $5, changed_at = now()
WHERE day = $1 AND domain = $2 AND claim = $3 AND state IN ('claimed', 'sending')
RETURNING state
