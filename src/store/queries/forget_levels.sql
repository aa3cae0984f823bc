-- Question: forget limits that nothing is in any more.
-- Key:      none
-- Result:   none
-- Index:    none: a scan of one row for each login, domain and client that sent lately
DELETE FROM gatepost.sending_levels WHERE at < now() - make_interval(secs => span)
