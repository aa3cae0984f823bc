-- Question: of whom is Dovecot told anything beyond the configuration? For COPY.
-- Key:      none
-- Result:   scopes, some more than once: a login, @domain, or * for all; one row more than is kept in memory at most
-- Index:    quota_limited (login) of a table that may be long; the others whole, which are short or too long to be kept
COPY (
    SELECT scope FROM gatepost.user_fields
    UNION ALL SELECT scope FROM gatepost.quota_limits
    UNION ALL SELECT member FROM gatepost.groups
    UNION ALL SELECT login FROM gatepost.quota WHERE limit_bytes IS NOT NULL OR limit_messages IS NOT NULL
    LIMIT 100001
) TO STDOUT
