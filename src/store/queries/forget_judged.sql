-- Question: Forget judged messages from before $1.
-- Key:      a time
-- Result:   none
-- Index:    judged_messages_judged_at
DELETE FROM gatepost.judged_messages WHERE judged_at < $1
