-- Question: how do mailboxes stand to the authors of messages, of several messages at once?
-- Key:      $1 int4[] and $2 text[] the mailboxes, each with the number of its message, from 1; $3 text[] each message's author's address, $4 text[]
--           his name, folded, or empty; $5 int4[] and $6 text[] the Message-IDs that are answered, each with the number of its message
-- Result:   one row per message and mailbox: number, mailbox, whether it has written to the address, whether it has written one of the messages,
--           the latest other address that it wrote to under that name or NULL
-- Index:    correspondents_pkey, correspondents_by_name, sent_messages_pkey
SELECT m.number, m.mailbox,
       EXISTS (SELECT FROM gatepost.correspondents c WHERE c.mailbox = m.mailbox AND c.correspondent = ($3::text[])[m.number]),
       EXISTS (SELECT FROM gatepost.sent_messages s WHERE s.mailbox = m.mailbox AND s.message_id = ANY (ARRAY
           (SELECT a.id FROM unnest($5::int4[], $6::text[]) AS a (number, id) WHERE a.number = m.number))),
       CASE WHEN ($4::text[])[m.number] <> '' THEN
           (SELECT c.correspondent FROM gatepost.correspondents c
            WHERE c.mailbox = m.mailbox AND c.name = ($4::text[])[m.number] AND c.correspondent <> ($3::text[])[m.number]
            ORDER BY c.last_at DESC LIMIT 1)
       END
FROM unnest($1::int4[], $2::text[]) AS m (number, mailbox)
