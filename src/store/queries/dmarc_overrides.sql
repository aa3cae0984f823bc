-- Question: what has the operator set for mail that fails DMARC?
-- Key:      none; $1 bigint is how many rows are read at the most
-- Result:   domain (A-labels, lower case), policy: none, quarantine, reject or default
-- Index:    none needed; the whole table, which is short
SELECT domain, policy FROM gatepost.dmarc_overrides LIMIT $1
