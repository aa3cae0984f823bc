-- Question: none; forgets verifiers of hashes that are nobody's any more.
-- Key:      none
-- Result:   none
-- Index:    none: both tables whole, at most once a day
DELETE FROM gatepost.scram_verifiers AS kept
WHERE NOT EXISTS (
    SELECT FROM public.users AS present WHERE sha256(convert_to(present.password_hash, 'UTF8')) = kept.hash_mark)
