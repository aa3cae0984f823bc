-- Question: what is Dovecot told about a user beyond the configuration?
-- Key:      $1 text login, folded; $2 text its domain as @example.com
-- Result:   one row per fact: kind (field, group, bytes, messages), name, value; of a field or limit the nearest scope's only
-- Index:    user_fields_pkey (scope, name), groups_by_member, quota_pkey (login), quota_limits_pkey (scope)
WITH scopes (scope, rank) AS (VALUES ($1::text, 1), ($2::text, 2), ('*', 3)),
limits AS (
    SELECT 0 AS rank, limit_bytes AS bytes, limit_messages AS messages FROM gatepost.quota WHERE login = $1
    UNION ALL SELECT rank, bytes, messages FROM scopes JOIN gatepost.quota_limits USING (scope)
)
(SELECT DISTINCT ON (f.name) 'field' AS kind, f.name AS name, f.value AS value
 FROM scopes JOIN gatepost.user_fields AS f USING (scope) ORDER BY f.name, rank)
UNION ALL (SELECT 'group', name, '' FROM gatepost.groups WHERE member = $1 ORDER BY name)
UNION ALL (SELECT 'bytes', '', bytes::text FROM limits WHERE bytes IS NOT NULL ORDER BY rank LIMIT 1)
UNION ALL (SELECT 'messages', '', messages::text FROM limits WHERE messages IS NOT NULL ORDER BY rank LIMIT 1)
