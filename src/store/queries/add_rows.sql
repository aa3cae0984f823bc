-- Question: count these messages.
-- Key:      $1 date[], $2 text[] of open reports; $3 bytea[] keys, $4 bigint[] messages, $5..$14 what is counted; $15 bigint the most rows
--           of one report
-- Result:   how many messages found no row any more; they are counted in dmarc_reports.omitted
-- Index:    dmarc_rows_pkey (day, domain, key)
WITH incoming AS (
    SELECT * FROM unnest($1::date[], $2::text[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::boolean[],
                         $10::boolean[], $11::text[], $12::text[], $13::text[], $14::text[])
        AS row (day, domain, key, messages, source, header_from, envelope_from, disposition, dkim_aligned, spf_aligned, reasons, dkim,
                spf_domain, spf_result)
), held AS (
    SELECT day, domain, count(*) AS rows FROM gatepost.dmarc_rows
    WHERE (day, domain) IN (SELECT DISTINCT day, domain FROM incoming)
    GROUP BY day, domain
), judged AS (
    SELECT incoming.*, old.key IS NOT NULL AS known,
           coalesce(held.rows, 0) + row_number() OVER (PARTITION BY incoming.day, incoming.domain, old.key IS NOT NULL
                                                       ORDER BY incoming.messages DESC, incoming.key) AS place
    FROM incoming
    LEFT JOIN gatepost.dmarc_rows AS old USING (day, domain, key)
    LEFT JOIN held USING (day, domain)
), kept AS (
    INSERT INTO gatepost.dmarc_rows AS row (day, domain, key, messages, source, header_from, envelope_from, disposition, dkim_aligned,
                                            spf_aligned, reasons, dkim, spf_domain, spf_result)
    SELECT day, domain, key, messages, source::inet, header_from, envelope_from, disposition, dkim_aligned, spf_aligned,
           reasons::jsonb, dkim::jsonb, spf_domain, spf_result
    FROM judged WHERE known OR place <= $15
    ORDER BY day, domain, key
    ON CONFLICT (day, domain, key) DO UPDATE SET messages = row.messages + excluded.messages
), beyond AS (
    SELECT day, domain, sum(messages)::bigint AS messages FROM judged WHERE NOT known AND place > $15 GROUP BY day, domain
), counted AS (
    UPDATE gatepost.dmarc_reports AS report SET omitted = omitted + beyond.messages
    FROM beyond WHERE report.day = beyond.day AND report.domain = beyond.domain
)
SELECT coalesce(sum(messages), 0)::bigint FROM beyond
