-- Question: Append a word on a message to the training log.
-- Key:      the message and its owner
-- Result:   whether it was news
-- Index:    training_log_message
SELECT gatepost.teach($1, $2, $3, $4, $5)
