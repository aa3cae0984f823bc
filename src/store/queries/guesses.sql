-- Question: which wrong passwords have other daemons heard lately?
-- Key:      $1 float8 the newest noted_at that is known, in seconds since 1970; $2 float8 window in seconds; $3 bigint our source
-- Result:   login, address, guess, seconds ago, noted_at in seconds since 1970; the oldest first, 10,000 at the most
-- Index:    login_guesses_by_time (noted_at)
SELECT login, host(address), guess, extract(epoch FROM now() - last_at)::float8, extract(epoch FROM noted_at)::float8
FROM gatepost.login_guesses
WHERE noted_at > to_timestamp($1) AND last_at > now() - make_interval(secs => $2) AND source <> $3
ORDER BY noted_at
LIMIT 10000
