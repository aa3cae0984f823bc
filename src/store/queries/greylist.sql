-- Question: may these mails pass, or are they too early? Notes the attempts.
-- Key:      $1 to $6 text[] client, sender, recipient, correspondent, mailbox, network, $7 bool[] suspected, one element an attempt;
--           $8 float8 delay, $9 float8 retry window, $10 float8 expiry, $11 int passes, $12 float8 score
-- Result:   one row an attempt, in their order: verdict, age, wait, passes
-- Index:    greylist_clients_pkey (client), greylist_pkey (client, sender, recipient)
SELECT g.verdict, g.age, g.wait, g.passes
FROM ROWS FROM (unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[])) WITH ORDINALITY
         AS a (client, sender, recipient, correspondent, mailbox, network, suspected, place),
     gatepost.greylist(a.client, a.sender, a.recipient, a.correspondent, a.mailbox, a.network, $8, $9, $10, $11, a.suspected, $12) AS g
ORDER BY a.place
