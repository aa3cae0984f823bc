-- Question: which aliases are there, and where do they lead? For COPY.
-- Key:      none
-- Result:   local part and domain, as typed, and one destination; rows of one alias follow each other, the tutorial's first
-- Index:    none needed: both tables whole
COPY (
    SELECT local, domain, destination FROM (
        SELECT source_local AS local, source_domain AS domain, destination_local || '@' || destination_domain AS destination, 0 AS place
        FROM public.aliases
        UNION ALL
        SELECT local, domain, destination, 1 FROM gatepost.aliases
    ) AS alias
    ORDER BY domain, local, place, destination
) TO STDOUT
