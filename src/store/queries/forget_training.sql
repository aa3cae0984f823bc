-- Question: Take rows from before $1 out of the training log; a new epoch begins if there were any.
-- Key:      a time
-- Result:   how many
-- Index:    training_log_at
SELECT gatepost.forget_training($1)
