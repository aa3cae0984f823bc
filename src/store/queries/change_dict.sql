-- Question: carry a transaction of a dictionary out.
-- Key:      $1 text dictionary, $2 text writer, $3 float8 seconds until the values expire or NULL, then per change $4 text[] owner,
--           $5 text[] key, $6 text[] value, $7 bigint[] what is added; $8 integer how many keys the writer may have
-- Result:   one word: done, missing, full
-- Index:    dict_values_pkey (dict, owner, key), dict_values_by_writer
SELECT gatepost.change_dict($1, $2, now() + make_interval(secs => $3), $4, $5, $6, $7, $8)
