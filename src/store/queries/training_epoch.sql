-- Question: Which epoch of the training log is it?
-- Key:      none
-- Result:   one number
-- Index:    one row
SELECT epoch FROM gatepost.training_epoch
