-- Schema gatepost: what was decided about each message, and why. Needs 001_base.sql only. Run by `gatepost schema install` inside its
-- one transaction.

-- `id` grows with time (UUID version 7, RFC 9562), so that rows are added at the end of the index. The milter makes it, so that a batch
-- whose answer was lost counts once.
CREATE TABLE gatepost.history_messages (
    id             uuid        PRIMARY KEY,
    at             timestamptz NOT NULL,
    host           text        NOT NULL,
    queue_id       text,
    message_id     text,
    direction      text        NOT NULL CHECK (direction IN ('inbound', 'submitted', 'local')),
    -- none for mail that did not come over the network
    client         inet,
    client_name    text,
    helo           text,
    tls            boolean     NOT NULL,
    -- empty for the null sender
    sender         text        NOT NULL,
    login          text,
    header_from    text,
    subject        text,
    size           bigint      NOT NULL,
    -- Authentication-Results; none for mail of ours
    authentication text,
    action         text        NOT NULL,
    -- what the client was told, where it was refused
    reply          text,
    -- none for what was not judged
    score          double precision,
    add_header     double precision,
    reject         double precision,
    -- [{"symbol", "points", "evidence"}], and the names of facts that could not be had
    symbols        jsonb       NOT NULL,
    missing        jsonb       NOT NULL,
    note           text,
    milliseconds   integer     NOT NULL,
    -- recipients beyond the number that is kept for one message
    omitted        integer     NOT NULL DEFAULT 0
);
CREATE INDEX history_messages_at ON gatepost.history_messages (at);
CREATE INDEX history_messages_queue_id ON gatepost.history_messages (queue_id) WHERE queue_id IS NOT NULL;
CREATE INDEX history_messages_message_id ON gatepost.history_messages (message_id) WHERE message_id IS NOT NULL;
COMMENT ON TABLE gatepost.history_messages IS 'What was decided about each message, and every reason. Kept for milter.history.keep';

CREATE TABLE gatepost.history_recipients (
    message   uuid NOT NULL REFERENCES gatepost.history_messages ON DELETE CASCADE,
    recipient text NOT NULL,
    -- where his own settings led to another verdict than the message's
    action    text,
    score     double precision,
    PRIMARY KEY (message, recipient)
);
CREATE INDEX history_recipients_recipient ON gatepost.history_recipients (recipient, message);
COMMENT ON TABLE gatepost.history_recipients IS 'To whom the messages of history_messages went';

-- One row for each message and recipient: what `gatepost history`, `why` and `stats` read, and whoever builds a page of his own.
CREATE VIEW gatepost.history AS
    SELECT message.id, message.at, message.host, message.queue_id, message.message_id, message.direction, message.client,
           message.client_name, message.helo, message.tls, message.sender, recipient.recipient, message.login, message.header_from,
           message.subject, message.size, message.authentication, coalesce(recipient.action, message.action) AS action, message.reply,
           coalesce(recipient.score, message.score) AS score, message.add_header, message.reject, message.symbols, message.missing,
           message.note, message.milliseconds, message.omitted
    FROM gatepost.history_messages AS message
    LEFT JOIN gatepost.history_recipients AS recipient ON recipient.message = message.id;
COMMENT ON VIEW gatepost.history IS 'What was decided: one row for each message and recipient';
