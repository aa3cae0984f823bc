-- Question: note what became of a report.
-- Key:      $1 date, $2 text domain, $3 text the claim, $4 text state, $5 text detail
-- Result:   none; one row affected if the claim still counts
-- Index:    dmarc_reports_pkey (day, domain)
UPDATE gatepost.dmarc_reports SET state = $4, detail = $5, changed_at = now()
WHERE day = $1 AND domain = $2 AND claim = $3 AND state IN ('claimed', 'sending')
