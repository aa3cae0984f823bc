-- Question: which report is due? It is claimed at once, by one host only. A claim whose host has not been heard of for a while is taken
-- over: before `sending`, nothing has left.
-- Key:      $1 text the claim, $2 text the host, $3 float8 seconds after which a claim is taken over
-- Result:   none, or one row: day, domain, how often it was tried, this time included
-- Index:    dmarc_reports_open (due_at)
UPDATE gatepost.dmarc_reports AS report
SET state = 'claimed', claim = $1, host = $2, changed_at = now(), tries = tries + 1
WHERE (report.day, report.domain) = (
    SELECT day, domain FROM gatepost.dmarc_reports
    WHERE day < (now() AT TIME ZONE 'UTC')::date
      AND (state = 'collected' AND due_at <= now() OR state = 'claimed' AND changed_at < now() - make_interval(secs => $3))
    ORDER BY due_at LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING day, domain, tries
