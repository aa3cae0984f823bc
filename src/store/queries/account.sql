-- Question: what is Dovecot told about these users beyond the configuration?
-- Key:      arrays, one element for each: $1 text login, folded; $2 text its domain as @example.com
-- Result:   one row per fact: the user's number from 1 on, kind (field, group, bytes, messages), name, value; of a field or limit the nearest
--           scope's only
-- Index:    user_fields_pkey (scope, name), groups_by_member, quota_pkey (login), quota_limits_pkey (scope)
WITH k AS (SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (login, domain, n)),
scopes AS (SELECT n, scope, rank FROM k CROSS JOIN LATERAL (VALUES (login, 1), (domain, 2), ('*', 3)) AS s (scope, rank)),
limits AS (
    SELECT n, 0 AS rank, limit_bytes AS bytes, limit_messages AS messages FROM k JOIN gatepost.quota USING (login)
    UNION ALL SELECT n, rank, bytes, messages FROM scopes JOIN gatepost.quota_limits USING (scope)
)
-- Each for all users together: hardly any has facts of its own.
SELECT n, kind, name, value FROM (
    (SELECT DISTINCT ON (n, f.name) n, 'field' AS kind, f.name AS name, f.value AS value
     FROM scopes JOIN gatepost.user_fields AS f USING (scope) ORDER BY n, f.name, rank)
    UNION ALL SELECT n, 'group', g.name, '' FROM k JOIN gatepost.groups AS g ON g.member = k.login
    UNION ALL (SELECT DISTINCT ON (n) n, 'bytes', '', bytes::text FROM limits WHERE bytes IS NOT NULL ORDER BY n, rank)
    UNION ALL (SELECT DISTINCT ON (n) n, 'messages', '', messages::text FROM limits WHERE messages IS NOT NULL ORDER BY n, rank)
) AS facts
ORDER BY n, kind, name
