-- Question: which local parts of users and aliases are stored unfolded?
-- Key:      none; asked at start, on a change that says so, and at most once a minute
-- Result:   local part and domain as typed; normally no row
-- Index:    none: it reads both tables once
SELECT local::text, domain::text FROM public.users WHERE local <> lower(local)
UNION
SELECT source_local::text, source_domain::text FROM public.aliases WHERE source_local <> lower(source_local)
LIMIT 10000
