-- Question: add a new key.
-- Key:      $1 text domain, $2 text selector, $3 text algorithm, $4 text private key, $5 text public key
-- Result:   none
-- Index:    dkim_keys_pkey (domain, selector)
INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key) VALUES ($1, $2, $3, $4, $5)
