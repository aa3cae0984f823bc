-- Question: forget attempts that nobody came back for, then clients that nobody heard of, then the oldest attempts beyond the bound.
-- Key:      $1 float8 retry window, $2 float8 expiry in seconds, $3 bigint the most rows, $4 bigint the most rows that go at once
-- Result:   one row: how many rows went
-- Index:    none: a scan, some times an hour, so that the decisions need keep no index right
WITH late AS (
    DELETE FROM gatepost.greylist WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM gatepost.greylist
        WHERE (passed = 0 AND first_seen < now() - make_interval(secs => $1)) OR last_seen < now() - make_interval(secs => $2)
        LIMIT $4))
    RETURNING 1
), unheard AS (
    DELETE FROM gatepost.greylist_clients WHERE last_seen < now() - make_interval(secs => $2) RETURNING 1
), surplus AS (
    DELETE FROM gatepost.greylist WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM gatepost.greylist
        ORDER BY passed > 0, last_seen
        LIMIT least(greatest((SELECT count(*) FROM gatepost.greylist) - $3, 0), $4)))
    RETURNING 1
)
SELECT (SELECT count(*) FROM late) + (SELECT count(*) FROM unheard) + (SELECT count(*) FROM surplus)
