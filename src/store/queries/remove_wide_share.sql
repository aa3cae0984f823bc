-- Question: remove a share to everybody or to a group.
-- Key:      $1 text owner, $2 text kind, $3 text group
-- Result:   none
-- Index:    wide_shares_pkey (owner, kind, name)
DELETE FROM gatepost.wide_shares WHERE owner = $1 AND kind = $2 AND name = $3
