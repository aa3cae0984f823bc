-- Question: replace the stored form of a private key, unless somebody else did meanwhile.
-- Key:      $1 text domain, $2 text selector, $3 text the form now, $4 text the next
-- Result:   none
-- Index:    dkim_keys_pkey (domain, selector)
UPDATE gatepost.dkim_keys SET private_key = $4 WHERE domain = $1 AND selector = $2 AND private_key = $3
