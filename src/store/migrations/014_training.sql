-- What people say of messages: the training log, from which every milter makes the same model, and the messages as they were judged.

-- The log. Append-only: a correction is a new row. Positions are given in the order of commit (gatepost.teach), so that a reader who has
-- read up to a position has missed nothing before it.
CREATE TABLE gatepost.training_log (
    position bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    label    text        NOT NULL CHECK (label IN ('spam', 'ham')),
    owner    text        CHECK (owner = lower(owner) AND length(owner) <= 320),
    source   text        NOT NULL CHECK (source IN ('move', 'tool', 'import')),
    message  bytea       NOT NULL CHECK (length(message) = 16),
    sample   bytea       NOT NULL CHECK (length(sample) <= 262144)
);
CREATE INDEX training_log_message ON gatepost.training_log (message, owner);
CREATE INDEX training_log_owner ON gatepost.training_log (owner) WHERE owner IS NOT NULL;
CREATE INDEX training_log_at ON gatepost.training_log (at);
COMMENT ON TABLE gatepost.training_log IS 'Messages that people called spam or ham, in order; owner is whose mailbox it was (NULL: the operator''s), message tells one from another, sample is its start, compressed';

-- Which log it is: grows when rows are taken away, and then every milter makes its model anew.
CREATE TABLE gatepost.training_epoch (
    one   boolean     PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint      NOT NULL DEFAULT 1,
    since timestamptz NOT NULL DEFAULT now()
);
INSERT INTO gatepost.training_epoch DEFAULT VALUES;

-- Appends one sample, unless the owner's last word on that message is the same already. Returns whether it did.
CREATE FUNCTION gatepost.teach(p_label text, p_owner text, p_source text, p_message bytea, p_sample bytea)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- One writer at a time, until its transaction ends: positions become visible in their order.
    PERFORM pg_advisory_xact_lock(7161646871);
    IF p_label = (SELECT l.label FROM gatepost.training_log AS l
                  WHERE l.message = p_message AND l.owner IS NOT DISTINCT FROM p_owner
                  ORDER BY l.position DESC LIMIT 1) THEN
        RETURN false;
    END IF;
    INSERT INTO gatepost.training_log (label, owner, source, message, sample)
    VALUES (p_label, p_owner, p_source, p_message, p_sample);
    PERFORM pg_notify('gatepost', 'training_log *');
    RETURN true;
END
$$;

-- Takes rows older than p_before out of the log, which must be a week ago at least. Returns how many; a new epoch begins if there were any.
CREATE FUNCTION gatepost.forget_training(p_before timestamptz)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone bigint;
BEGIN
    IF p_before > now() - interval '7 days' THEN
        RAISE EXCEPTION 'the training log keeps at least 7 days';
    END IF;
    PERFORM pg_advisory_xact_lock(7161646871);
    DELETE FROM gatepost.training_log AS l WHERE l.at < p_before;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone > 0 THEN
        UPDATE gatepost.training_epoch SET epoch = epoch + 1, since = now();
        PERFORM pg_notify('gatepost', 'training_log *');
    END IF;
    RETURN gone;
END
$$;
REVOKE ALL ON FUNCTION gatepost.forget_training(timestamptz) FROM PUBLIC;

-- Messages as they were when they were judged, for the few days in which somebody may call them spam or ham.
CREATE TABLE gatepost.judged_messages (
    message   bytea       PRIMARY KEY CHECK (length(message) = 16),
    judged_at timestamptz NOT NULL DEFAULT now(),
    sample    bytea       NOT NULL CHECK (length(sample) <= 262144)
);
CREATE INDEX judged_messages_judged_at ON gatepost.judged_messages (judged_at);
COMMENT ON TABLE gatepost.judged_messages IS 'The start of each judged message, compressed, by the id in its X-Gatepost-Message-Id: what is learned is what was judged';

-- The models that there are: what each host's milter has made of the log.
CREATE TABLE gatepost.models (
    host        text        PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    epoch       bigint      NOT NULL,
    position    bigint      NOT NULL,
    spam        bigint      NOT NULL,
    ham         bigint      NOT NULL,
    missed_spam bigint      NOT NULL,
    missed_ham  bigint      NOT NULL,
    digest      bytea       NOT NULL CHECK (length(digest) = 32)
);
COMMENT ON TABLE gatepost.models IS 'How far each host''s model has read, how many samples it judged wrong before it learned them, and the SHA-256 of it: equal at equal positions';
