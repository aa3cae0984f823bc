-- Question: which keys must DNS show, or may it show any time now?
-- Key:      none
-- Result:   domain, selector, algorithm, public key, state, the last answer of DNS and when it was given
-- Index:    none; some keys per domain
SELECT domain, selector, algorithm, public_key, state, dns, dns_at FROM gatepost.dkim_keys
WHERE state IN ('new', 'published', 'active')
ORDER BY domain, selector
