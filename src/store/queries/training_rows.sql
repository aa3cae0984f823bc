-- Question: How many rows of the training log are there up to a position?
-- Key:      the position
-- Result:   their number
-- Index:    training_log_pkey
SELECT count(*) FROM gatepost.training_log WHERE position <= $1
