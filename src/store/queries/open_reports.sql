-- Question: which of these reports may still be added to? Those that are new are begun, the record seen last is kept.
-- Key:      $1 date[], $2 text[] policy domains; $3..$9 the record's tags; $10 float8[] seconds from the day's end until it is due
-- Result:   day, domain of each that is open. Their rows are locked until the transaction ends, so that none is claimed meanwhile
-- Index:    dmarc_reports_pkey (day, domain)
INSERT INTO gatepost.dmarc_reports (day, domain, p, sp, np, adkim, aspf, fo, testing, due_at)
SELECT day, domain, p, sp, np, adkim, aspf, fo, testing,
       (day + 1)::timestamp AT TIME ZONE 'UTC' + make_interval(secs => due)
FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[], $10::float8[])
    AS seen (day, domain, p, sp, np, adkim, aspf, fo, testing, due)
-- The same order on every host: no two wait for each other.
ORDER BY day, domain
ON CONFLICT (day, domain) DO UPDATE SET p = excluded.p, sp = excluded.sp, np = excluded.np, adkim = excluded.adkim,
    aspf = excluded.aspf, fo = excluded.fo, testing = excluded.testing
WHERE dmarc_reports.state = 'collected'
RETURNING day, domain
