-- Question: write down how far this host's model is.
-- Key:      the host
-- Result:   none
-- Index:    models_pkey
INSERT INTO gatepost.models AS m (host, epoch, position, spam, ham, missed_spam, missed_ham, digest, words)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (host) DO UPDATE SET at = now(), epoch = $2, position = $3, spam = $4, ham = $5, missed_spam = $6, missed_ham = $7, digest = $8, words = $9
