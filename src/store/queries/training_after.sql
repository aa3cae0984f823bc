-- Question: What comes behind a position of the training log? $2 bounds the rows.
-- Key:      the position
-- Result:   the epoch with each row, or alone where there is none
-- Index:    training_log_pkey, training_log_message
SELECT e.epoch, l.position, l.label, l.owner,
       EXISTS (SELECT FROM gatepost.training_log AS b
               WHERE b.message = l.message AND b.owner IS NOT DISTINCT FROM l.owner AND b.position < l.position AND b.label <> l.label),
       l.sample
FROM gatepost.training_epoch AS e
LEFT JOIN LATERAL (SELECT * FROM gatepost.training_log WHERE position > $1 ORDER BY position LIMIT $2) AS l ON true
ORDER BY l.position
