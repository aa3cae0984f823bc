-- Question: Keep messages as they were judged, for those who will call them spam or ham.
-- Key:      $1, with the samples $2, Message-IDs $3 and mailboxes $4, the latter of one message with line feeds between them
-- Result:   none
-- Index:    judged_messages_pkey
INSERT INTO gatepost.judged_messages (message, sample, message_id, mailboxes)
SELECT message, sample, message_id, string_to_array(mailboxes, E'\n')
FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[]) AS kept (message, sample, message_id, mailboxes)
ON CONFLICT (message) DO NOTHING
