-- Question: which record is this report about?
-- Key:      $1 date, $2 text domain
-- Result:   p, sp, np, adkim, aspf, fo, testing, omitted
-- Index:    dmarc_reports_pkey (day, domain)
SELECT p, sp, np, adkim, aspf, fo, testing, omitted FROM gatepost.dmarc_reports WHERE day = $1 AND domain = $2
