-- Question: who shares a mailbox to everybody or to a group?
-- Key:      none; the table is short and held whole
-- Result:   owner, kind (anyone, group), name of the group
-- Index:    none needed: the whole table
SELECT owner, kind, name FROM gatepost.wide_shares
