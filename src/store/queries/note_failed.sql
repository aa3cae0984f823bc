-- Question: count one failed recipient of a login.
-- Key:      $1 text login
-- Result:   none
-- Index:    login_habits_pkey (login)
SELECT gatepost.note_failed($1)
