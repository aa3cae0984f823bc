-- Question: where does this alias lead?
-- Key:      $1 text[] the domain's spellings, $2 text[] the local part's spellings, folded first
-- Result:   at most one row: the destination's local part and domain
-- Index:    aliases_pkey (source_local, source_domain)
SELECT destination_local::text, destination_domain::text FROM public.aliases
WHERE source_domain = ANY ($1) AND source_local = ANY ($2)
ORDER BY array_position($2, source_local::text)
LIMIT 1
