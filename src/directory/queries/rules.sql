-- Question: which domains, patterns, rights, access rules, copies and transports has schema gatepost?
-- Key:      none; these tables are short and held whole
-- Result:   one row each: which table it is from, then its columns as texts; rank counts for patterns only, which come in its order
-- Index:    none needed: the whole tables
SELECT kind, a, b, c, d, e FROM (
    SELECT 'hosted' AS kind, domain AS a, kind AS b, next_hop AS c, recipients AS d, target AS e, 0 AS rank FROM gatepost.hosted_domains
    UNION ALL SELECT 'pattern', domain, kind, pattern, destination, NULL, rank FROM gatepost.alias_patterns
    UNION ALL SELECT 'send-as', address, login, NULL, NULL, NULL, 0 FROM gatepost.send_as
    UNION ALL SELECT 'access', subject, pattern, action, reason, NULL, 0 FROM gatepost.access
    UNION ALL SELECT 'bcc', direction, pattern, copy_to, NULL, NULL, 0 FROM gatepost.bcc
    UNION ALL SELECT 'transport', pattern, transport, NULL, NULL, NULL, 0 FROM gatepost.transports
) AS rule
ORDER BY kind, rank, a, b, c, d
