-- Question: none; forgets Message-IDs and scores that are old
-- Key:      $1 float8 seconds that Message-IDs are kept, $2 bigint how many go at the most
-- Result:   one row: how many went
-- Index:    sent_messages_at; none for client_scores, which is short
WITH old AS (
    SELECT message_id, mailbox FROM gatepost.sent_messages WHERE sent_at < now() - make_interval(secs => $1) LIMIT $2
), sent AS (
    DELETE FROM gatepost.sent_messages s USING old WHERE s.message_id = old.message_id AND s.mailbox = old.mailbox RETURNING 1
), scores AS (
    DELETE FROM gatepost.client_scores WHERE updated_at < now() - interval '30 days' RETURNING 1
)
SELECT (SELECT count(*) FROM sent) + (SELECT count(*) FROM scores)
