-- Schema gatepost: DMARC aggregate reports (RFC 9990). What was seen of each policy domain on each day (UTC), and what became of the
-- report on it. Run by `gatepost schema install` inside its one transaction.

CREATE TABLE gatepost.dmarc_reports (
    day         date        NOT NULL,
    domain      text        NOT NULL CHECK (domain <> '' AND length(domain) <= 253),
    -- the record as it was seen last
    p           text        NOT NULL CHECK (p IN ('none', 'quarantine', 'reject')),
    sp          text        CHECK (sp IN ('none', 'quarantine', 'reject')),
    np          text        CHECK (np IN ('none', 'quarantine', 'reject')),
    adkim       text        NOT NULL CHECK (adkim IN ('r', 's')),
    aspf        text        NOT NULL CHECK (aspf IN ('r', 's')),
    fo          text        NOT NULL,
    testing     boolean     NOT NULL,
    -- messages of kinds that found no row any more
    omitted     bigint      NOT NULL DEFAULT 0,
    -- collected → claimed (a host builds it) → sending (it may be on its way) → sent; or unwanted, failed, unknown (see `detail`)
    state       text        NOT NULL DEFAULT 'collected'
        CHECK (state IN ('collected', 'claimed', 'sending', 'sent', 'unwanted', 'failed', 'unknown')),
    due_at      timestamptz NOT NULL,
    tries       integer     NOT NULL DEFAULT 0,
    claim       text,
    host        text,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    detail      text        NOT NULL DEFAULT '',
    PRIMARY KEY (day, domain)
);
CREATE INDEX dmarc_reports_open ON gatepost.dmarc_reports (due_at) WHERE state IN ('collected', 'claimed', 'sending');
COMMENT ON TABLE gatepost.dmarc_reports IS 'DMARC aggregate reports that we owe or have sent: one a day (UTC) and policy domain';

CREATE TABLE gatepost.dmarc_rows (
    day           date    NOT NULL,
    domain        text    NOT NULL,
    -- SHA-256 of everything below but the count
    key           bytea   NOT NULL,
    messages      bigint  NOT NULL CHECK (messages > 0),
    source        inet    NOT NULL,
    header_from   text    NOT NULL,
    envelope_from text,
    disposition   text    NOT NULL CHECK (disposition IN ('none', 'quarantine', 'reject')),
    dkim_aligned  boolean NOT NULL,
    spf_aligned   boolean NOT NULL,
    -- lists of [type, comment] and [domain, selector, result]
    reasons       jsonb   NOT NULL,
    dkim          jsonb   NOT NULL,
    spf_domain    text,
    spf_result    text,
    PRIMARY KEY (day, domain, key),
    FOREIGN KEY (day, domain) REFERENCES gatepost.dmarc_reports ON DELETE CASCADE ON UPDATE CASCADE
);
COMMENT ON TABLE gatepost.dmarc_rows IS 'What the hosts saw, messages alike in all that a report tells counted together. No recipients';

CREATE TABLE gatepost.dmarc_batches (
    id text        PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dmarc_batches_at ON gatepost.dmarc_batches (at);
COMMENT ON TABLE gatepost.dmarc_batches IS 'Counts that were written, so that none counts twice when its answer was lost';
