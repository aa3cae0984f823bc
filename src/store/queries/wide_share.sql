-- Question: is there such a share to everybody or to a group?
-- Key:      $1 text owner, $2 text kind, $3 text group
-- Result:   one row, 1, if there is
-- Index:    wide_shares_pkey (owner, kind, name)
SELECT 1 FROM gatepost.wide_shares WHERE owner = $1 AND kind = $2 AND name = $3
