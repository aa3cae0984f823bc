-- Question: what is Dovecot told about these users beyond the configuration?
-- Key:      arrays, one element for each: $1 text login, folded; $2 text its domain as @example.com
-- Result:   one row per fact: the user's number from 1 on, kind (field, group, bytes, messages), name, value; of a field or limit the nearest
--           scope's only
-- Index:    user_fields_pkey (scope, name), groups_by_member, quota_pkey (login), quota_limits_pkey (scope)
SELECT k.n, f.kind, f.name, f.value
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (login, domain, n)
CROSS JOIN LATERAL (
    WITH scopes (scope, rank) AS (VALUES (k.login, 1), (k.domain, 2), ('*', 3)),
    limits AS (
        SELECT 0 AS rank, limit_bytes AS bytes, limit_messages AS messages FROM gatepost.quota WHERE quota.login = k.login
        UNION ALL SELECT rank, bytes, messages FROM scopes JOIN gatepost.quota_limits USING (scope)
    )
    (SELECT DISTINCT ON (f.name) 'field' AS kind, f.name AS name, f.value AS value
     FROM scopes JOIN gatepost.user_fields AS f USING (scope) ORDER BY f.name, rank)
    UNION ALL SELECT 'group', g.name, '' FROM gatepost.groups AS g WHERE g.member = k.login
    UNION ALL (SELECT 'bytes', '', bytes::text FROM limits WHERE bytes IS NOT NULL ORDER BY rank LIMIT 1)
    UNION ALL (SELECT 'messages', '', messages::text FROM limits WHERE messages IS NOT NULL ORDER BY rank LIMIT 1)
) AS f (kind, name, value)
ORDER BY k.n, f.kind, f.name
