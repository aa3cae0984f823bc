-- Wanted mail that nobody has moved: what users answered, what comes from those they write to, what they read and left in the Inbox. The
-- milter and `gatepost learn --read-for` append it where that is switched on.

ALTER TABLE gatepost.training_log DROP CONSTRAINT training_log_source_check;
ALTER TABLE gatepost.training_log ADD CONSTRAINT training_log_source_check
    CHECK (source IN ('move', 'tool', 'import', 'reply', 'correspondent', 'read'));

-- By what a reply names the message, and whose mailboxes it went to: nobody vouches for mail that he did not get. Both are empty where
-- replies teach nothing.
ALTER TABLE gatepost.judged_messages ADD COLUMN message_id text CHECK (length(message_id) <= 998);
ALTER TABLE gatepost.judged_messages ADD COLUMN mailboxes text[] NOT NULL DEFAULT '{}';
CREATE INDEX judged_messages_message_id ON gatepost.judged_messages (message_id) WHERE message_id IS NOT NULL;

-- Appends a sample of wanted mail, unless its owner has said anything of that message himself. Returns whether it did.
CREATE FUNCTION gatepost.teach_wanted(p_owner text, p_source text, p_message bytea, p_sample bytea)
RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7161646871);
    IF EXISTS (SELECT FROM gatepost.training_log AS l WHERE l.message = p_message AND l.owner IS NOT DISTINCT FROM p_owner) THEN
        RETURN false;
    END IF;
    RETURN gatepost.teach('ham', p_owner, p_source, p_message, p_sample);
END
$$;
