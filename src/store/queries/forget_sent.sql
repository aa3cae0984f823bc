-- Question: forget what no window needs any more.
-- Key:      $1 float8 the longest window in seconds
-- Result:   none
-- Index:    sent_at (at)
DELETE FROM gatepost.sent WHERE at < now() - make_interval(secs => $1)
