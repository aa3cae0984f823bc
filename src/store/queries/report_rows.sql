-- Question: what was seen of a domain on a day, the most frequent first?
-- Key:      $1 date, $2 text domain, $3 bigint the most rows
-- Result:   messages, source, header_from, envelope_from, disposition, dkim_aligned, spf_aligned, reasons, dkim, spf_domain, spf_result,
--           and the messages of all rows together
-- Index:    dmarc_rows_pkey (day, domain, key)
SELECT messages, host(source), header_from, envelope_from, disposition, dkim_aligned, spf_aligned, reasons::text, dkim::text, spf_domain,
       spf_result, (sum(messages) OVER ())::bigint
FROM gatepost.dmarc_rows WHERE day = $1 AND domain = $2
ORDER BY messages DESC, key LIMIT $3
