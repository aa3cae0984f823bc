-- Question: forget messages that are older than history is kept, a part of them at a time.
-- Key:      $1 float8 seconds; $2 bigint the most messages
-- Result:   the rows affected are the messages forgotten
-- Index:    history_messages_at (at), history_messages_pkey (id); their recipients by history_recipients_pkey (message, recipient)
DELETE FROM gatepost.history_messages
WHERE id IN (SELECT id FROM gatepost.history_messages WHERE at < now() - make_interval(secs => $1) ORDER BY at LIMIT $2)
