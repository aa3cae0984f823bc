-- Question: How was this message when it was judged?
-- Key:      its id
-- Result:   its sample, none if it is too long ago
-- Index:    judged_messages_pkey
SELECT sample FROM gatepost.judged_messages WHERE message = $1
