-- Question: has this batch of counts been written already?
-- Key:      $1 text the batch's id
-- Result:   none; one row affected if it has not
-- Index:    dmarc_batches_pkey (id)
INSERT INTO gatepost.dmarc_batches (id) VALUES ($1) ON CONFLICT DO NOTHING
