-- Question: none; takes scores into the running means of networks. Each message counts a tenth, the more of them the less the old mean.
-- Key:      $1 text[] network, each once, $2 float8[] mean score, $3 bigint[] messages
-- Result:   none
-- Index:    client_scores_pkey
INSERT INTO gatepost.client_scores AS c (network, score, messages)
SELECT * FROM unnest($1::text[], $2::float8[], $3::bigint[])
ON CONFLICT (network) DO UPDATE SET
    score = excluded.score + (c.score - excluded.score) * power(0.9, least(excluded.messages, 100)),
    messages = c.messages + excluded.messages, updated_at = now()
