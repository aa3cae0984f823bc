-- Question: the mail could not be sent; let the next event try again.
-- Key:      $1 text kind, $2 text key
-- Result:   none
-- Index:    notices_pkey (kind, key)
DELETE FROM gatepost.notices WHERE kind = $1 AND key = $2
