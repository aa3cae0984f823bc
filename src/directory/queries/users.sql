-- Question: which mailboxes are there, behind a place in the order of the key?
-- Key:      $1 text domain, $2 text local part: the last row that is known, or two empty texts; $3 bigint how many
-- Result:   local part and domain of each user, as typed, and whether they are folded; of a row that is not, whether the folded one is there too
-- Index:    users_pkey (domain, local), again for each row that is not folded
SELECT u.local::text, u.domain::text, u.folded, f.is_there
FROM (SELECT local, domain, local = lower(local) AND domain = lower(domain) AS folded FROM public.users
      WHERE (domain, local) > ($1, $2) ORDER BY domain, local LIMIT $3) AS u
LEFT JOIN LATERAL (SELECT true AS is_there FROM public.users AS t WHERE t.domain = lower(u.domain) AND t.local = lower(u.local) LIMIT 1) AS f
    ON NOT u.folded
ORDER BY u.domain, u.local
