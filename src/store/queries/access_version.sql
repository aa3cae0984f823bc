-- Question: has the list changed?
-- Key:      none
-- Result:   one row: the version
-- Index:    none: one row
SELECT version FROM gatepost.access_version
