-- Question: Append to the training log that a message is wanted, unless its owner has said something of it.
-- Key:      the message and its owner
-- Result:   whether it was news
-- Index:    training_log_message
SELECT gatepost.teach_wanted($1, $2, $3, $4)
