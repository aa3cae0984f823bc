-- Question: let a key take a step of its life; the dates follow by trigger dkim_key_life, which refuses steps that are not open.
-- Key:      $1 text domain, $2 text selector, $3 text the state now, $4 text the next
-- Result:   none; no row if the key is not in that state (any more)
-- Index:    dkim_keys_pkey (domain, selector)
UPDATE gatepost.dkim_keys SET state = $4 WHERE domain = $1 AND selector = $2 AND state = $3
