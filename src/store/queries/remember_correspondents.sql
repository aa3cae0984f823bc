-- Question: none; remembers whom logins wrote to. The rows of one statement differ in mailbox or correspondent.
-- Key:      $1 to $3 text[] mailbox, correspondent, name (folded, or empty), $4 bigint[] messages
-- Result:   none
-- Index:    correspondents_pkey
INSERT INTO gatepost.correspondents AS c (mailbox, correspondent, name, messages)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
ON CONFLICT (mailbox, correspondent) DO UPDATE SET
    messages = c.messages + excluded.messages, last_at = now(), name = CASE WHEN excluded.name <> '' THEN excluded.name ELSE c.name END
