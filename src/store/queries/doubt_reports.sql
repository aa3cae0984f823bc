-- Question: which reports were being sent by a host that has not been heard of since? They are never sent again by themselves.
-- Key:      $1 float8 seconds
-- Result:   day, domain, host of each
-- Index:    dmarc_reports_open (due_at)
UPDATE gatepost.dmarc_reports
SET state = 'unknown', changed_at = now(),
    detail = 'the host ended while it was sending; its mail log tells whether the report left'
WHERE state = 'sending' AND changed_at < now() - make_interval(secs => $1)
RETURNING day, domain, coalesce(host, '')
