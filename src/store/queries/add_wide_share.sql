-- Question: record a share to everybody or to a group, once; to a group only if it has members.
-- Key:      $1 text owner, $2 text kind, $3 text group
-- Result:   one row where the share can be
-- Index:    wide_shares_pkey (owner, kind, name), groups_pkey (name, member)
WITH possible AS (SELECT 1 WHERE $2 = 'anyone' OR EXISTS (SELECT FROM gatepost.groups WHERE name = $3)),
added AS (INSERT INTO gatepost.wide_shares (owner, kind, name) SELECT $1, $2, $3 FROM possible ON CONFLICT DO NOTHING)
SELECT 1 FROM possible
