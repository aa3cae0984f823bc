-- Question: who forwards mail of others to us?
-- Key:      none; $1 bigint is how many rows are read at the most
-- Result:   kind (network, spf, dkim or name), value, recipient_domain (* for all)
-- Index:    none needed; the whole table, which is short
SELECT kind, value, recipient_domain FROM gatepost.forwarders LIMIT $1
