-- Question: forget the policies that have expired
-- Key:      none
-- Result:   none
-- Index:    none; the table is short, and this runs once an hour
DELETE FROM gatepost.mta_sts WHERE expires_at <= now()
