-- Schema gatepost: what the milter does for whom: lists of the operator, settings by domain and user, correspondents, the quarantine.
-- Needs 001_base.sql and 006_policy.sql. Run by `gatepost schema install` inside its one transaction.

-- Lists ---------------------------------------------------------------------------------------------------------------------------

-- The lists of 006_policy.sql learn what only a filter can see. The policy daemon reads past what it does not know.
ALTER TABLE gatepost.access_rules
    DROP CONSTRAINT access_rules_kind_check,
    DROP CONSTRAINT access_rules_value_check,
    DROP CONSTRAINT access_rules_action_check,
    ADD CONSTRAINT access_rules_kind_check CHECK (kind IN
        ('address', 'domain', 'network', 'helo', 'recipient', 'login', 'verified', 'url', 'attachment', 'header')),
    -- A pattern keeps its case: \S is not \s.
    ADD CONSTRAINT access_rules_value_check CHECK ((value = lower(value) OR kind = 'header') AND value <> '' AND length(value) <= 320),
    ADD CONSTRAINT access_rules_action_check CHECK (action IN ('allow', 'deny', 'defer', 'no-greylist', 'score', 'tag')),
    ADD COLUMN authenticated boolean NOT NULL DEFAULT true,
    ADD COLUMN points float8 CHECK (points BETWEEN -1000 AND 1000),
    ADD COLUMN tag text CHECK (tag ~ '^[A-Za-z0-9_.-]{1,64}$'),
    ADD CHECK ((action = 'score') = (points IS NOT NULL)),
    ADD CHECK ((action = 'tag') = (tag IS NOT NULL));
COMMENT ON COLUMN gatepost.access_rules.authenticated IS 'For the milter: allow counts only where the sender is proven (SPF, DKIM or DMARC for the domain that people see)';
COMMENT ON COLUMN gatepost.access_rules.points IS 'For action score: added to the score';
COMMENT ON COLUMN gatepost.access_rules.tag IS 'For action tag: what X-Gatepost-Tag says';

-- Settings ------------------------------------------------------------------------------------------------------------------------

CREATE TABLE gatepost.settings (
    scope text NOT NULL CHECK (scope = lower(scope) AND scope <> '' AND length(scope) <= 320),
    name  text NOT NULL CHECK (name ~ '^([a-z-]+|weight\.[A-Z0-9_]+)$' AND length(name) <= 100),
    value text NOT NULL CHECK (length(value) <= 200),
    PRIMARY KEY (scope, name)
);
COMMENT ON TABLE gatepost.settings IS 'What the milter does with mail to everybody (*), a domain or a mailbox, instead of its configuration; kept by `gatepost settings`';

CREATE TRIGGER gatepost_announce_insert AFTER INSERT ON gatepost.settings
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('''*''');
CREATE TRIGGER gatepost_announce_update AFTER UPDATE ON gatepost.settings
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('''*''');
CREATE TRIGGER gatepost_announce_delete AFTER DELETE ON gatepost.settings
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('''*''');
CREATE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON gatepost.settings
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('''*''');

-- Correspondents ------------------------------------------------------------------------------------------------------------------

-- No index on the times: an update of them then stays on its page (HOT).
CREATE TABLE gatepost.correspondents (
    mailbox       text        NOT NULL CHECK (length(mailbox) <= 400),
    correspondent text        NOT NULL CHECK (length(correspondent) <= 400),
    -- As the mailbox's owner wrote it, folded (lower case, words only); empty where he wrote none.
    name          text        NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    messages      bigint      NOT NULL DEFAULT 1,
    first_at      timestamptz NOT NULL DEFAULT now(),
    last_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (mailbox, correspondent)
) WITH (fillfactor = 80);
CREATE INDEX correspondents_by_name ON gatepost.correspondents (mailbox, name) WHERE name <> '';
COMMENT ON TABLE gatepost.correspondents IS 'Whom our logins write to: one row per login and address';

CREATE TABLE gatepost.sent_messages (
    message_id text        NOT NULL CHECK (length(message_id) <= 255),
    mailbox    text        NOT NULL CHECK (length(mailbox) <= 400),
    sent_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (message_id, mailbox)
);
CREATE INDEX sent_messages_at ON gatepost.sent_messages (sent_at);
COMMENT ON TABLE gatepost.sent_messages IS 'Message-IDs of what our logins wrote, to know the answers';

-- How bad the mail of a client's neighbourhood was of late; gatepost.greylist() reads it (006_policy.sql).
CREATE TABLE gatepost.client_scores (
    network    text        PRIMARY KEY,
    score      float8      NOT NULL,
    messages   bigint      NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.client_scores IS 'Running mean of the score of a network''s mail; every message counts a tenth';

-- Quarantine ----------------------------------------------------------------------------------------------------------------------

-- The message itself stays in Postfix's queue `hold`; this says what it is and why it is there.
CREATE TABLE gatepost.quarantine (
    host       text        NOT NULL,
    queue_id   text        NOT NULL,
    held_at    timestamptz NOT NULL DEFAULT now(),
    sender     text        NOT NULL,
    recipients text[]      NOT NULL,
    subject    text        NOT NULL,
    score      float8      NOT NULL,
    why        text        NOT NULL,
    PRIMARY KEY (host, queue_id)
);
COMMENT ON TABLE gatepost.quarantine IS 'What the milter had Postfix put on hold; kept by `gatepost quarantine`';
