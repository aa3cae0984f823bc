-- Question: has schema gatepost the tables of what logins may?
-- Key:      none
-- Result:   one row: whether it has
-- Index:    none needed
SELECT to_regclass('gatepost.login_rules') IS NOT NULL
