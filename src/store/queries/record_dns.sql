-- Question: write down what DNS says of a key. A new key that it shows becomes published (trigger dkim_key_life).
-- Key:      $1 text domain, $2 text selector, $3 text public key, $4 text the answer, $5 text in words
-- Result:   when it was given; no row if the key is another one by now
-- Index:    dkim_keys_pkey (domain, selector)
UPDATE gatepost.dkim_keys SET dns = $4, dns_detail = $5, dns_at = now()
WHERE domain = $1 AND selector = $2 AND public_key = $3
RETURNING dns_at
