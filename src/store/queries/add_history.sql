-- Question: write down what was decided about these messages; say so to whoever follows. What is there already stays as it is.
-- Key:      $1 text, a JSON list of at most 200 records (the payload of a NOTIFY has 8000 bytes)
-- Result:   nothing
-- Index:    history_messages_pkey (id), history_recipients_pkey (message, recipient)
WITH given AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS record (
        id uuid, at float8, host text, queue_id text, message_id text, direction text, client inet, client_name text, helo text,
        tls boolean, sender text, login text, header_from text, subject text, size bigint, authentication text, action text, reply text,
        score float8, add_header float8, reject float8, symbols jsonb, missing jsonb, note text, milliseconds integer, omitted integer,
        recipients jsonb)
), added AS (
    INSERT INTO gatepost.history_messages (id, at, host, queue_id, message_id, direction, client, client_name, helo, tls, sender, login,
                                           header_from, subject, size, authentication, action, reply, score, add_header, reject,
                                           symbols, missing, note, milliseconds, omitted)
    SELECT id, to_timestamp(at), host, queue_id, message_id, direction, client, client_name, helo, tls, sender, login, header_from,
           subject, size, authentication, action, reply, score, add_header, reject, symbols, missing, note, milliseconds, omitted
    FROM given
    ON CONFLICT DO NOTHING
    RETURNING id
), addressed AS (
    INSERT INTO gatepost.history_recipients (message, recipient, action, score)
    SELECT added.id, recipient.recipient, recipient.action, recipient.score
    FROM added
    JOIN given USING (id)
    CROSS JOIN LATERAL jsonb_to_recordset(given.recipients) AS recipient (recipient text, action text, score float8)
    ON CONFLICT DO NOTHING
)
SELECT pg_notify('gatepost_history', string_agg(id::text, ' ')) FROM added HAVING count(*) > 0
