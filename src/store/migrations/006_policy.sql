-- Schema gatepost: what the policy checks keep. Needs 001_base.sql only. Run by `gatepost schema install` inside its one transaction.

-- Greylisting ---------------------------------------------------------------------------------------------------------------------

-- No index but the key: an update of times and counts then stays on its page (HOT); old rows are found by a scan now and then.
CREATE TABLE gatepost.greylist (
    client     text        NOT NULL CHECK (length(client) <= 300),
    sender     text        NOT NULL CHECK (length(sender) <= 400),
    recipient  text        NOT NULL CHECK (length(recipient) <= 400),
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    passed     integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (client, sender, recipient)
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.greylist IS 'Who tried to send what to whom: client is a verified domain or a network; passed counts attempts after the delay';

CREATE TABLE gatepost.greylist_clients (
    client     text        PRIMARY KEY,
    passes     integer     NOT NULL DEFAULT 0,
    counted_at timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.greylist_clients IS 'The automatic allow-list: clients whose mail came again often enough';

-- One decision in one call. verdict: known-client, passed, correspondent, unsuspected, new, early. age and wait in seconds.
-- p_correspondent and p_mailbox: the two addresses whole, for gatepost.correspondents (mailbox, correspondent), where somebody keeps one.
-- p_network and p_score: gatepost.client_scores (network, score), where somebody keeps one; asked if p_suspected is false.
CREATE FUNCTION gatepost.greylist(
    p_client text, p_sender text, p_recipient text, p_correspondent text, p_mailbox text, p_network text,
    p_delay float8, p_window float8, p_expiry float8, p_passes integer, p_suspected boolean, p_score float8,
    OUT verdict text, OUT age float8, OUT wait float8, OUT passes integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now   timestamptz := clock_timestamp();
    v_delay interval := make_interval(secs => p_delay);
    known   gatepost.greylist_clients%ROWTYPE;
    seen    gatepost.greylist%ROWTYPE;
    found_it boolean;
BEGIN
    age := 0; wait := 0; passes := 0;
    SELECT * INTO known FROM gatepost.greylist_clients AS c WHERE c.client = p_client;
    IF found AND known.passes >= p_passes AND known.last_seen > v_now - make_interval(secs => p_expiry) THEN
        -- Once an hour is often enough to keep a row from expiring.
        IF known.last_seen < v_now - interval '1 hour' THEN
            UPDATE gatepost.greylist_clients AS c SET last_seen = v_now WHERE c.client = p_client;
        END IF;
        verdict := 'known-client'; passes := known.passes;
        RETURN;
    END IF;
    IF NOT p_suspected THEN
        found_it := false;
        IF to_regclass('gatepost.client_scores') IS NOT NULL THEN
            EXECUTE 'SELECT EXISTS (SELECT FROM gatepost.client_scores WHERE network = $1 AND score >= $2)' INTO found_it USING p_network, p_score;
        END IF;
        IF NOT found_it THEN
            verdict := 'unsuspected';
            RETURN;
        END IF;
    END IF;
    INSERT INTO gatepost.greylist AS g (client, sender, recipient, first_seen, last_seen)
        VALUES (p_client, p_sender, p_recipient, v_now, v_now)
    ON CONFLICT (client, sender, recipient) DO UPDATE SET
        -- Too late a second attempt, or one after the row should have expired, is a first one.
        first_seen = CASE WHEN (g.passed = 0 AND g.first_seen < v_now - make_interval(secs => p_window))
                            OR g.last_seen < v_now - make_interval(secs => p_expiry) THEN v_now ELSE g.first_seen END,
        passed = CASE WHEN (g.passed = 0 AND g.first_seen < v_now - make_interval(secs => p_window))
                        OR g.last_seen < v_now - make_interval(secs => p_expiry) THEN 0
                      WHEN g.passed > 0 OR g.first_seen <= v_now - v_delay THEN g.passed + 1
                      ELSE 0 END,
        last_seen = v_now
    RETURNING * INTO seen;
    age := extract(epoch FROM v_now - seen.first_seen);
    passes := seen.passed;
    IF seen.passed > 0 THEN
        verdict := 'passed';
        -- At most once an hour, so that one burst is not five visits; and else nothing is touched, since a conflict alone would lock the row.
        IF p_passes > 0 AND (known.client IS NULL OR known.counted_at < v_now - interval '1 hour') THEN
            INSERT INTO gatepost.greylist_clients AS c (client, passes, counted_at, last_seen) VALUES (p_client, 1, v_now, v_now)
            ON CONFLICT (client) DO UPDATE SET passes = CASE WHEN c.last_seen < v_now - make_interval(secs => p_expiry) THEN 1 ELSE c.passes + 1 END,
                counted_at = v_now, last_seen = v_now
                WHERE c.counted_at < v_now - interval '1 hour';
        END IF;
        RETURN;
    END IF;
    IF to_regclass('gatepost.correspondents') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM gatepost.correspondents WHERE mailbox = $1 AND correspondent = $2)'
            INTO found_it USING p_mailbox, p_correspondent;
        IF found_it THEN
            verdict := 'correspondent';
            RETURN;
        END IF;
    END IF;
    wait := greatest(p_delay - age, 0);
    verdict := CASE WHEN seen.first_seen = v_now THEN 'new' ELSE 'early' END;
END
$$;

-- Outgoing limits -----------------------------------------------------------------------------------------------------------------

-- Limits of single logins, domains and clients, instead of those of the configuration.
CREATE TABLE gatepost.sending_limits (
    scope      text    NOT NULL CHECK (scope IN ('login', 'domain', 'client')),
    key        text    NOT NULL CHECK (key = lower(key) AND key <> ''),
    span       integer NOT NULL CHECK (span BETWEEN 1 AND 2678400),
    messages   bigint  NOT NULL CHECK (messages >= 0),
    recipients bigint  NOT NULL CHECK (recipients >= 0),
    PRIMARY KEY (scope, key, span)
);
COMMENT ON TABLE gatepost.sending_limits IS 'Limits set by `gatepost limits set`; span in seconds';

-- Leaky buckets: what is in them flows off at limit / span.
CREATE TABLE gatepost.sending_levels (
    scope      text        NOT NULL,
    key        text        NOT NULL,
    span       integer     NOT NULL,
    messages   float8      NOT NULL,
    recipients float8      NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (scope, key, span)
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.sending_levels IS 'How full each limit is; what is older than its span is empty';

CREATE TABLE gatepost.login_locks (
    login     text        PRIMARY KEY CHECK (login = lower(login)),
    reason    text        NOT NULL,
    locked_at timestamptz NOT NULL DEFAULT now(),
    until     timestamptz
);
COMMENT ON TABLE gatepost.login_locks IS 'Logins that may neither send nor log in, until that time or until `gatepost limits reset`; NULL is for ever';

-- Counts one message once, unless a limit would be passed by it; two messages at once wait for one another.
-- p_scopes … p_bursts: one limit each, of the configuration. p_keep: count also what is beyond, for a trial.
-- exceeded: NULL, locked, messages or recipients; with the limit's scope, number and span in seconds.
CREATE FUNCTION gatepost.count_sending(
    p_login text, p_domain text, p_client text, p_instance text, p_recipients integer, p_keep boolean,
    p_span integer, p_messages bigint, p_limit_recipients bigint,
    p_scopes text[], p_spans integer[], p_limits_messages bigint[], p_limits_recipients bigint[], p_bursts float8[],
    OUT sent_messages bigint, OUT sent_recipients bigint, OUT exceeded text, OUT scope text, OUT limit_number bigint, OUT limit_span integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now    timestamptz;
    own      gatepost.sending_limits%ROWTYPE;
    rule     record;
    level    record;
    again    boolean;
BEGIN
    -- In one order everywhere, so that no two wait for each other.
    PERFORM pg_advisory_xact_lock(hashtextextended('gatepost.sending ' || p_login, 0));
    v_now := clock_timestamp();
    IF EXISTS (SELECT FROM gatepost.login_locks AS l WHERE l.login = p_login AND (l.until IS NULL OR l.until > v_now)) THEN
        sent_messages := 0; sent_recipients := 0; exceeded := 'locked'; scope := 'login';
        RETURN;
    END IF;
    again := EXISTS (SELECT FROM gatepost.sent AS s WHERE s.login = p_login AND s.instance = p_instance);
    SELECT count(*) + (NOT again)::int, coalesce(sum(s.recipients), 0) + (NOT again)::int * p_recipients INTO sent_messages, sent_recipients
        FROM gatepost.sent AS s WHERE s.login = p_login AND s.at > v_now - make_interval(secs => p_span);
    SELECT * INTO own FROM gatepost.sending_limits AS o WHERE o.scope = 'login' AND o.key = p_login AND o.span = p_span;
    IF found THEN
        p_messages := own.messages; p_limit_recipients := own.recipients;
    END IF;
    IF sent_messages > p_messages THEN
        exceeded := 'messages'; scope := 'login'; limit_number := p_messages; limit_span := p_span;
    ELSIF sent_recipients > p_limit_recipients THEN
        exceeded := 'recipients'; scope := 'login'; limit_number := p_limit_recipients; limit_span := p_span;
    END IF;
    IF NOT again THEN
        FOR rule IN
            SELECT coalesce(o.scope, c.scope) AS scope, coalesce(o.span, c.span) AS span,
                   k.key, coalesce(o.messages, c.messages) AS messages, coalesce(o.recipients, c.recipients) AS recipients,
                   coalesce(c.burst, 1) AS burst
            FROM unnest(p_scopes, p_spans, p_limits_messages, p_limits_recipients, p_bursts) AS c (scope, span, messages, recipients, burst)
            FULL JOIN (
                SELECT l.* FROM gatepost.sending_limits AS l
                WHERE (l.scope, l.key) IN (('login', p_login), ('domain', p_domain), ('client', p_client))
                  AND NOT (l.scope = 'login' AND l.span = p_span)
            ) AS o ON o.scope = c.scope AND o.span = c.span
            JOIN (VALUES ('login', p_login), ('domain', p_domain), ('client', p_client)) AS k (scope, key) ON k.scope = coalesce(o.scope, c.scope)
            WHERE k.key IS NOT NULL
            ORDER BY 1, 3, 2
        LOOP
            EXIT WHEN exceeded IS NOT NULL AND NOT p_keep;
            INSERT INTO gatepost.sending_levels AS b (scope, key, span, messages, recipients, at) VALUES (rule.scope, rule.key, rule.span, 1, p_recipients, v_now)
            ON CONFLICT ON CONSTRAINT sending_levels_pkey DO UPDATE SET
                messages = greatest(b.messages - rule.messages * extract(epoch FROM greatest(v_now - b.at, interval '0')) / rule.span, 0) + 1,
                recipients = greatest(b.recipients - rule.recipients * extract(epoch FROM greatest(v_now - b.at, interval '0')) / rule.span, 0) + p_recipients,
                at = greatest(v_now, b.at)
            RETURNING b.messages, b.recipients INTO level;
            IF exceeded IS NULL AND level.messages > rule.messages * rule.burst + 1e-6 THEN
                exceeded := 'messages'; scope := rule.scope; limit_number := rule.messages; limit_span := rule.span;
            ELSIF exceeded IS NULL AND level.recipients > rule.recipients * rule.burst + 1e-6 THEN
                exceeded := 'recipients'; scope := rule.scope; limit_number := rule.recipients; limit_span := rule.span;
            END IF;
        END LOOP;
        IF exceeded IS NULL OR p_keep THEN
            INSERT INTO gatepost.sent (login, instance, recipients, at) VALUES (p_login, p_instance, p_recipients, v_now) ON CONFLICT DO NOTHING;
        ELSE
            -- What is refused is not counted, so that a client that tries again does not lock itself out.
            RAISE EXCEPTION USING ERRCODE = 'GP001', MESSAGE = 'take back';
        END IF;
    END IF;
EXCEPTION WHEN SQLSTATE 'GP001' THEN
    -- The block's writes are undone; its variables stay.
    NULL;
END
$$;

-- What is usual for a login ---------------------------------------------------------------------------------------------------------

CREATE TABLE gatepost.login_habits (
    login      text        PRIMARY KEY CHECK (login = lower(login)),
    since      timestamptz NOT NULL DEFAULT now(),
    day        date        NOT NULL,
    recipients bigint      NOT NULL DEFAULT 0,
    average    float8      NOT NULL DEFAULT 0,
    hour       timestamptz NOT NULL,
    failed     integer     NOT NULL DEFAULT 0,
    recent     text[]      NOT NULL DEFAULT '{}'
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.login_habits IS 'Recipients today and on an average day, and recipients that failed within the hour; recent holds the last messages counted';

CREATE TABLE gatepost.login_places (
    login      text        NOT NULL,
    place      text        NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (login, place)
) WITH (fillfactor = 80);
COMMENT ON TABLE gatepost.login_places IS 'From where a login sends: a country as country:XX, a network as 192.0.2.0/24';

-- Learns from one message, once per instance, and says how usual it is. days: how long the login is known.
CREATE FUNCTION gatepost.note_sending(
    p_login text, p_instance text, p_recipients integer, p_network text, p_country text,
    OUT days float8, OUT today bigint, OUT average float8, OUT failed integer, OUT new_networks integer, OUT new_countries integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_day date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    habit gatepost.login_habits%ROWTYPE;
    v_place text;
BEGIN
    INSERT INTO gatepost.login_habits AS h (login, day, recipients, hour, recent)
        VALUES (p_login, v_day, p_recipients, v_now, ARRAY[p_instance])
    ON CONFLICT (login) DO UPDATE SET
        -- The average forgets a fifth each day, and counts the days without mail.
        average = CASE WHEN h.day < v_day THEN (h.average * 0.8 + h.recipients * 0.2) * power(0.8::float8, least(v_day - h.day - 1, 100)) ELSE h.average END,
        recipients = CASE WHEN h.day < v_day THEN 0 ELSE h.recipients END + CASE WHEN p_instance = ANY (h.recent) THEN 0 ELSE p_recipients END,
        day = v_day,
        failed = CASE WHEN h.hour < v_now - interval '1 hour' THEN 0 ELSE h.failed END,
        hour = CASE WHEN h.hour < v_now - interval '1 hour' THEN v_now ELSE h.hour END,
        recent = CASE WHEN p_instance = ANY (h.recent) THEN h.recent ELSE (p_instance || h.recent)[1:16] END
    RETURNING * INTO habit;
    FOREACH v_place IN ARRAY ARRAY[p_network, 'country:' || p_country] LOOP
        CONTINUE WHEN v_place IS NULL;
        INSERT INTO gatepost.login_places AS p (login, place, first_seen, last_seen) VALUES (p_login, v_place, v_now, v_now)
        ON CONFLICT (login, place) DO UPDATE SET last_seen = v_now WHERE p.last_seen < v_now - interval '10 minutes';
    END LOOP;
    -- A login's first day teaches, it does not alarm: what came with it is not new.
    SELECT count(*) FILTER (WHERE p.place NOT LIKE 'country:%'), count(*) FILTER (WHERE p.place LIKE 'country:%') INTO new_networks, new_countries
        FROM gatepost.login_places AS p
        WHERE p.login = p_login AND p.first_seen > v_now - interval '1 hour' AND p.first_seen > habit.since + interval '1 day';
    days := extract(epoch FROM v_now - habit.since) / 86400;
    today := habit.recipients; average := habit.average; failed := habit.failed;
END
$$;

-- One recipient of a login that failed: unknown here, or bounced there. Only logins that have sent are known.
CREATE FUNCTION gatepost.note_failed(p_login text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE gatepost.login_habits AS h SET
        failed = CASE WHEN h.hour < now() - interval '1 hour' THEN 1 ELSE h.failed + 1 END,
        hour = CASE WHEN h.hour < now() - interval '1 hour' THEN now() ELSE h.hour END
    WHERE h.login = p_login
$$;

-- What the postmaster was told already.
CREATE TABLE gatepost.notices (
    kind text        NOT NULL,
    key  text        NOT NULL,
    at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, key)
);
COMMENT ON TABLE gatepost.notices IS 'One row per mail to the postmaster, so that one event is told once by all hosts together';

-- Lists and quotas ----------------------------------------------------------------------------------------------------------------

CREATE TABLE gatepost.access_rules (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text        NOT NULL CHECK (kind IN ('address', 'domain', 'network', 'helo', 'recipient', 'login')),
    value      text        NOT NULL CHECK (value = lower(value) AND value <> '' AND length(value) <= 320),
    scope      text        NOT NULL DEFAULT '*' CHECK (scope = lower(scope)),
    action     text        NOT NULL CHECK (action IN ('allow', 'deny', 'defer', 'no-greylist')),
    reason     text,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, value, scope, action)
);
COMMENT ON TABLE gatepost.access_rules IS 'Allow and deny lists: kind and value say of whom, scope (* for all, a domain, an address) whose mail; kept by `gatepost allow|deny|greylist`';

-- Grows with every change of the list, so that a daemon needs to read one row to know that it has the newest.
CREATE TABLE gatepost.access_version (one boolean PRIMARY KEY DEFAULT true CHECK (one), version bigint NOT NULL);
INSERT INTO gatepost.access_version (version) VALUES (1);

CREATE FUNCTION gatepost.access_changed() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE gatepost.access_version SET version = version + 1;
    PERFORM pg_notify('gatepost', 'access_rules *');
    RETURN NULL;
END
$$;
CREATE TRIGGER gatepost_access_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON gatepost.access_rules
    FOR EACH STATEMENT EXECUTE FUNCTION gatepost.access_changed();

CREATE TABLE gatepost.quota (
    login          text        PRIMARY KEY CHECK (login = lower(login)),
    bytes          bigint      NOT NULL DEFAULT 0,
    messages       bigint      NOT NULL DEFAULT 0,
    limit_bytes    bigint,
    limit_messages bigint,
    updated_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE gatepost.quota IS 'How full each mailbox is, as Dovecot''s quota_clone says; a limit of NULL is the configuration''s';
