-- Question: none; writes down what was put on hold
-- Key:      $1, $2 text host, queue id, $3 text sender, $4 text[] recipients, $5 text subject, $6 float8 score, $7 text why
-- Result:   none
-- Index:    quarantine_pkey
INSERT INTO gatepost.quarantine (host, queue_id, sender, recipients, subject, score, why) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (host, queue_id) DO UPDATE SET held_at = now(), sender = excluded.sender, recipients = excluded.recipients,
    subject = excluded.subject, score = excluded.score, why = excluded.why
