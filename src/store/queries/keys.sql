-- Question: all that is known of keys, for the admin.
-- Key:      $1 text a domain, or NULL for all
-- Result:   everything; those of one domain in the order in which they were made
-- Index:    dkim_keys_pkey (domain, selector)
SELECT domain, selector, algorithm, private_key, public_key, state, created_at, published_at, activated_at, retired_at, removed_at,
       dns, dns_detail, dns_at, seen_at
FROM gatepost.dkim_keys
WHERE $1::text IS NULL OR domain = $1
ORDER BY domain, created_at, selector
