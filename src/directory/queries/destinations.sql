-- Question: where does this alias lead?
-- Key:      $1 text[] the domain's spellings in public.domains, $2 text[] the local part's, folded first; $3 and $4 text both folded
-- Result:   the destinations, local@domain, those of the tutorial's table first
-- Index:    public.aliases_pkey (source_local, source_domain), gatepost.aliases_pkey (domain, local, destination)
SELECT destination FROM (
    SELECT destination_local || '@' || destination_domain AS destination, array_position($2, source_local::text) AS place
    FROM public.aliases WHERE source_domain = ANY ($1) AND source_local = ANY ($2)
    UNION ALL
    SELECT destination, 1000 FROM gatepost.aliases WHERE domain = $3 AND local = $4
) AS found
ORDER BY place, destination
