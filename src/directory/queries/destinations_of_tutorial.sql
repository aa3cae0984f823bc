-- Question: where does this alias lead, where schema gatepost is not installed?
-- Key:      $1 text[] the domain's spellings, $2 text[] the local part's spellings, folded first
-- Result:   the destinations, local@domain: one, or one for each spelling of the alias
-- Index:    aliases_pkey (source_local, source_domain)
SELECT destination_local || '@' || destination_domain FROM public.aliases
WHERE source_domain = ANY ($1) AND source_local = ANY ($2)
ORDER BY array_position($2, source_local::text)
