-- Question: none; remembers what logins wrote, to know the answers
-- Key:      $1, $2 text[] Message-ID, mailbox
-- Result:   none
-- Index:    sent_messages_pkey
INSERT INTO gatepost.sent_messages (message_id, mailbox) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING
