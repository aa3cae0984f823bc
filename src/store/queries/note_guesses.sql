-- Question: write wrong passwords down, and tell the other daemons.
-- Key:      $1 bigint our source; arrays, one element for each: $2 login, $3 address, $4 guess, $5 service, $6 result, $7 times, $8 seconds ago
-- Result:   one row, or none where nothing was written
-- Index:    login_guesses_pkey (login, address, guess), in whose order rows are locked
WITH noted AS (
    INSERT INTO gatepost.login_guesses AS g (login, address, guess, source, service, result, times, first_at, last_at, noted_at)
    SELECT n.login, n.address::inet, n.guess, $1, n.service, n.result, n.times,
           now() - make_interval(secs => n.ago), now() - make_interval(secs => n.ago), clock_timestamp()
    FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::float8[])
        AS n (login, address, guess, service, result, times, ago)
    ORDER BY 1, 2, 3
    ON CONFLICT (login, address, guess) DO UPDATE SET times = g.times + excluded.times, last_at = greatest(g.last_at, excluded.last_at),
        noted_at = excluded.noted_at, service = excluded.service, result = excluded.result
    RETURNING 1
)
SELECT pg_notify('gatepost', 'login_guesses *')::text WHERE EXISTS (SELECT FROM noted)
