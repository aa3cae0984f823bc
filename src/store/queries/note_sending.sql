-- Question: how usual is this message for its login? Learns from it.
-- Key:      $1 text login, $2 text instance, $3 int recipients, $4 text network or NULL, $5 text country or NULL
-- Result:   one row: days, today, average, failed, new_networks, new_countries
-- Index:    login_habits_pkey (login), login_places_pkey (login, place)
SELECT days, today, average, failed, new_networks, new_countries FROM gatepost.note_sending($1, $2, $3, $4, $5)
