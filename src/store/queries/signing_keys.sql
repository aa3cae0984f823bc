-- Question: which keys sign for this domain?
-- Key:      $1 text the domain, A-labels, lower case
-- Result:   selector, algorithm, private key (PKCS#8 PEM) of each active key, newest first
-- Index:    dkim_keys_pkey (domain, selector)
SELECT selector, algorithm, private_key FROM gatepost.dkim_keys
WHERE domain = $1 AND state = 'active'
ORDER BY activated_at DESC NULLS LAST, selector DESC
