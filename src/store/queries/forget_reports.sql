-- Question: forget reports that are older than anybody asks for, and batches that nobody repeats any more.
-- Key:      $1 float8 seconds
-- Result:   how many reports went
-- Index:    dmarc_reports_pkey (day, domain), dmarc_batches_at (at)
WITH batches AS (
    DELETE FROM gatepost.dmarc_batches WHERE at < now() - interval '2 days'
), reports AS (
    DELETE FROM gatepost.dmarc_reports
    WHERE day < ((now() - make_interval(secs => $1)) AT TIME ZONE 'UTC')::date AND state NOT IN ('claimed', 'sending')
    RETURNING day
)
SELECT count(*) FROM reports
