-- Schema gatepost: what SCRAM needs of passwords (RFC 5802). Run by `gatepost schema install` inside its one transaction.

CREATE TABLE gatepost.scram_verifiers (
    login     text        NOT NULL CHECK (login = lower(login) AND login <> '' AND length(login) <= 320),
    mechanism text        NOT NULL CHECK (mechanism IN ('SCRAM-SHA-1', 'SCRAM-SHA-256')),
    verifier  text        NOT NULL CHECK (length(verifier) <= 256),
    hash_mark bytea       NOT NULL CHECK (length(hash_mark) = 32),
    made_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (login, mechanism)
);
COMMENT ON TABLE gatepost.scram_verifiers IS
    'What proves a password by SCRAM: verifier is iterations,salt,StoredKey,ServerKey; hash_mark is the SHA-256 of the users.password_hash that it was made with, and it counts only while that is the present one';

CREATE TABLE gatepost.secrets (
    name  text  PRIMARY KEY,
    value bytea NOT NULL CHECK (length(value) >= 32)
);
COMMENT ON TABLE gatepost.secrets IS
    'Secrets that all hosts must share: scram-salt makes the salts that logins which are not there are asked with';
-- gen_random_uuid() is of the strong random source; two of them hold more than 240 bits.
INSERT INTO gatepost.secrets (name, value)
VALUES ('scram-salt', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
