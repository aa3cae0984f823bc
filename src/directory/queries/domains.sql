-- Question: which domains are hosted here?
-- Key:      none; the table is short (one row per domain) and held whole
-- Result:   one row per domain, as typed
-- Index:    none needed: the whole table
SELECT domain::text FROM public.domains
