-- Question: may this mail pass, or is it too early? Notes the attempt.
-- Key:      the function's parameters, in its order (migrations/006_policy.sql)
-- Result:   one row: verdict, age, wait, passes
-- Index:    greylist_clients_pkey (client), greylist_pkey (client, sender, recipient)
SELECT verdict, age, wait, passes FROM gatepost.greylist($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
