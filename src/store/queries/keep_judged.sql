-- Question: Keep messages as they were judged, for those who will call them spam or ham.
-- Key:      $1, with the samples $2
-- Result:   none
-- Index:    judged_messages_pkey
INSERT INTO gatepost.judged_messages (message, sample)
SELECT * FROM unnest($1::bytea[], $2::bytea[])
ON CONFLICT (message) DO NOTHING
