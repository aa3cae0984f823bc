-- Question: take one counted message back.
-- Key:      $1 text login, $2 text instance
-- Result:   none
-- Index:    sent_pkey (login, instance)
DELETE FROM gatepost.sent WHERE login = $1 AND instance = $2
