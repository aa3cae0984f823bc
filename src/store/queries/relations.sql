-- Question: how do these mailboxes stand to the author of a message?
-- Key:      $1 text[] mailboxes, $2 text the author's address, $3 text his name, folded, or empty, $4 text[] the Message-IDs that it answers
-- Result:   one row per mailbox: mailbox, whether it has written to the address, whether it has written one of the messages, the latest other
--           address that it wrote to under that name or NULL
-- Index:    correspondents_pkey, correspondents_by_name, sent_messages_pkey
SELECT m.mailbox,
       EXISTS (SELECT FROM gatepost.correspondents c WHERE c.mailbox = m.mailbox AND c.correspondent = $2),
       EXISTS (SELECT FROM gatepost.sent_messages s WHERE s.message_id = ANY ($4) AND s.mailbox = m.mailbox),
       CASE WHEN $3 <> '' THEN
           (SELECT c.correspondent FROM gatepost.correspondents c
            WHERE c.mailbox = m.mailbox AND c.name = $3 AND c.correspondent <> $2 ORDER BY c.last_at DESC LIMIT 1)
       END
FROM unnest($1) AS m (mailbox)
