-- Question: what verifies these logins' passwords?
-- Key:      arrays, one element for each spelling of each login, the folded one first: $1 int the login's number, $2 domain, $3 local part
-- Result:   the number and the hash, or NULL where the account never logs in; no row where there is no such account
-- Index:    users_pkey (domain, local)
SELECT k.n, u.password_hash::text
FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY AS k (n, domain, local, place)
JOIN public.users AS u ON u.domain = k.domain AND u.local = k.local
ORDER BY k.place
