-- Question: Which judged messages have one of these Message-IDs, and went to that mailbox?
-- Key:      $1 the Message-IDs, $2 the mailbox in lower case
-- Result:   key and sample of each, some at the most
-- Index:    judged_messages_message_id
SELECT message, sample FROM gatepost.judged_messages
WHERE message_id = ANY ($1) AND $2 = ANY (mailboxes)
ORDER BY judged_at LIMIT 10
