-- Schema gatepost: MTA-STS policies that were fetched (RFC 8461), shared by all hosts. Run by `gatepost schema install` inside its one
-- transaction.

CREATE TABLE gatepost.mta_sts (
    domain     text        PRIMARY KEY CHECK (domain = lower(domain) AND domain <> '' AND length(domain) <= 253),
    id         text        NOT NULL CHECK (length(id) BETWEEN 1 AND 32),
    policy     text        NOT NULL CHECK (length(policy) <= 65536),
    expires_at timestamptz NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now(),
    used_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX mta_sts_by_check ON gatepost.mta_sts (checked_at);
COMMENT ON TABLE gatepost.mta_sts IS
    'MTA-STS policies of other domains: id of the record and text of the policy as fetched, kept until expires_at; checked_at: when DNS was last asked whether there is a newer one';
