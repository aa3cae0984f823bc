-- Question: which keys of this domain are active, and what did DNS say of them?
-- Key:      $1 text the domain, A-labels, lower case
-- Result:   selector, algorithm, private key (PKCS#8 PEM, or encrypted), public key, the last answer of DNS and when it was given; newest first
-- Index:    dkim_keys_pkey (domain, selector)
SELECT selector, algorithm, private_key, public_key, dns, dns_at FROM gatepost.dkim_keys
WHERE domain = $1 AND state = 'active'
ORDER BY activated_at DESC NULLS LAST, selector DESC
