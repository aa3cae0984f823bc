-- The triggers on the tutorial's tables: the only thing of ours that is added to them. Optional; without them answers count for
-- `database.cache-ttl` only. Four statements for each of four tables; `directory/watch.rs` counts them.

CREATE OR REPLACE TRIGGER gatepost_announce_insert AFTER INSERT ON public.domains
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE OR REPLACE TRIGGER gatepost_announce_update AFTER UPDATE ON public.domains
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE OR REPLACE TRIGGER gatepost_announce_delete AFTER DELETE ON public.domains
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');
CREATE OR REPLACE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON public.domains
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('domain');

CREATE OR REPLACE TRIGGER gatepost_announce_insert AFTER INSERT ON public.users
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('local || ''@'' || domain');
CREATE OR REPLACE TRIGGER gatepost_announce_update AFTER UPDATE ON public.users
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('local || ''@'' || domain');
CREATE OR REPLACE TRIGGER gatepost_announce_delete AFTER DELETE ON public.users
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('local || ''@'' || domain');
CREATE OR REPLACE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON public.users
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('local || ''@'' || domain');

CREATE OR REPLACE TRIGGER gatepost_announce_insert AFTER INSERT ON public.aliases
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('source_local || ''@'' || source_domain');
CREATE OR REPLACE TRIGGER gatepost_announce_update AFTER UPDATE ON public.aliases
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('source_local || ''@'' || source_domain');
CREATE OR REPLACE TRIGGER gatepost_announce_delete AFTER DELETE ON public.aliases
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('source_local || ''@'' || source_domain');
CREATE OR REPLACE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON public.aliases
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('source_local || ''@'' || source_domain');

CREATE OR REPLACE TRIGGER gatepost_announce_insert AFTER INSERT ON public.shared_mailboxes
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('shared_mailbox_local || ''@'' || shared_mailbox_domain');
CREATE OR REPLACE TRIGGER gatepost_announce_update AFTER UPDATE ON public.shared_mailboxes
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('shared_mailbox_local || ''@'' || shared_mailbox_domain');
CREATE OR REPLACE TRIGGER gatepost_announce_delete AFTER DELETE ON public.shared_mailboxes
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('shared_mailbox_local || ''@'' || shared_mailbox_domain');
CREATE OR REPLACE TRIGGER gatepost_announce_truncate AFTER TRUNCATE ON public.shared_mailboxes
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.announce('shared_mailbox_local || ''@'' || shared_mailbox_domain');
