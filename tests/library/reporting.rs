//! Aggregate reports in the database, as several hosts share it, and who may get them, as DNS says. Hosts are stores of their own, as
//! the role that the milter has.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use gatepost::config::Secret;
use gatepost::directory::{Directory, Lookup};
use gatepost::dmarc::destinations::{self, Asked, Judged, Verdict};
use gatepost::dmarc::settings::Reports;
use gatepost::dmarc::{
    DkimSeen, Observation, Policy, Published, Reason, ReasonKind, SpfSeen, Tally, compose, read, write,
};
use gatepost::dns::Resolver;
use gatepost::mail::Address;
use gatepost::store::reports::{Collected, End, MAX_ROWS};
use gatepost::store::{Store, schema};
use time::{Date, OffsetDateTime};

use crate::connect;
use crate::dns_server::Dns;
use crate::postgres::Database;

struct World {
    database: Database,
    password: tempfile::NamedTempFile,
}

impl World {
    async fn new() -> Self {
        let database = Database::create().await;
        let role = "gatepost_milter";
        let passwords = [(role, Secret::new(role.to_owned()))];
        schema::install(&mut connect(&database, "postgres").await, true, &passwords).await.unwrap();
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), role).unwrap();
        std::fs::set_permissions(password.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { database, password }
    }

    fn host(&self) -> Store {
        let config = gatepost::config::Database {
            user: Some("gatepost_milter".into()),
            password_file: Some(self.password.path().to_owned()),
            ..self.database.config()
        };
        Store::new(&Directory::new(gatepost::database::Database::new(&config, "test").unwrap(), &config))
    }

    /// Lets a day pass, for the reports.
    async fn next_day(&self) {
        self.database
            .sql("UPDATE gatepost.dmarc_reports SET day = day - 1, due_at = due_at - interval '1 day'")
            .await;
    }

    /// Lets the time that a host is waited for pass.
    async fn later(&self) {
        self.database
            .sql("UPDATE gatepost.dmarc_reports SET changed_at = changed_at - interval '16 minutes'")
            .await;
    }

    async fn states(&self) -> String {
        self.database.sql("SELECT domain, state FROM gatepost.dmarc_reports ORDER BY domain").await
    }
}

fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

fn seen(domain: &str, source: &str) -> Observation {
    Observation {
        source: source.parse().unwrap(),
        header_from: domain.to_owned(),
        envelope_from: Some(format!("bounce.{domain}")),
        published: Published {
            domain: domain.to_owned(),
            p: Policy::Reject,
            sp: Some(Policy::None),
            np: None,
            adkim: 's',
            aspf: 'r',
            fo: "1:d".to_owned(),
            testing: false,
            rua: vec![format!("agg@{domain}")],
        },
        disposition: Policy::None,
        reasons: vec![Reason { kind: ReasonKind::TrustedForwarder, comment: "arc=pass \u{0} x".to_owned() }],
        dkim_aligned: true,
        spf_aligned: false,
        dkim: vec![DkimSeen {
            domain: domain.to_owned(),
            selector: "s1\"".to_owned(),
            result: "pass".to_owned(),
            aligned: true,
        }],
        spf: Some(SpfSeen { domain: format!("bounce.{domain}"), helo: false, result: "softfail".to_owned() }),
    }
}

fn tally(observation: Observation, messages: u64) -> Tally {
    Tally { day: today(), observation, messages }
}

async fn collect(store: &Store, batch: &str, tallies: &[Tally]) -> Collected {
    store.collect(batch, tallies, |_, _| Duration::ZERO).await.found().unwrap()
}

#[tokio::test]
async fn hosts_count_together_and_each_batch_once() {
    let world = World::new().await;
    let (one, two) = (world.host(), world.host());
    let (a, b) = (seen("example.org", "192.0.2.1"), seen("example.org", "::ffff:192.0.2.1"));
    let mut null = seen("example.org", "2001:db8::1");
    (null.envelope_from, null.spf, null.dkim_aligned) = (None, None, false);
    null.disposition = Policy::Reject;
    null.reasons.clear();
    collect(&one, "1", &[tally(a.clone(), 3), tally(null.clone(), 1)]).await;
    // The same batch again, as after a lost answer; then another host's, with the same source spelled differently.
    collect(&one, "1", &[tally(a, 3), tally(null, 1)]).await;
    collect(&two, "2", &[tally(b.clone(), 4), tally(b, 1)]).await;
    assert_eq!(
        world.database.sql("SELECT host(source), messages FROM gatepost.dmarc_rows ORDER BY messages").await,
        "2001:db8::1|1\n192.0.2.1|8"
    );

    let day = today();
    let found = one.seen(day, "example.org", 100).await.found().unwrap();
    assert_eq!(found.tallies.iter().map(|tally| tally.messages).collect::<Vec<_>>(), [8, 1]);
    assert_eq!(found.omitted, 0);
    let settings = Reports { organization: Some("Example & Co".into()), ..Reports::default() };
    let from = Address::parse("dmarc-reports@example.com").unwrap();
    let report = compose::compose(&found, &settings, &from).unwrap();
    let xml = write::xml(&report);
    crate::reports::validate(&xml).unwrap();
    for expected in [
        "<disposition>pass</disposition>",
        "<disposition>reject</disposition>",
        "<type>trusted_forwarder</type>\n<comment>arc=pass  x</comment>",
        "<selector>s1\"</selector>",
        "<scope>mfrom</scope>\n<result>softfail</result>",
        "<adkim>s</adkim>",
        "<discovery_method>treewalk</discovery_method>",
        "<envelope_from></envelope_from>",
    ] {
        assert!(xml.contains(expected), "{expected} is not in\n{xml}");
    }
    assert_eq!(
        read::xml(xml.as_bytes()).unwrap().metadata.begin,
        day.midnight().assume_utc().unix_timestamp()
    );
    // Fewer rows than there are: the others are counted in `error`.
    let short = one.seen(day, "example.org", 1).await.found().unwrap();
    assert_eq!((short.tallies.len(), short.omitted), (1, 1));
    assert_eq!(
        compose::compose(&short, &settings, &from).unwrap().metadata.errors,
        ["1 messages of rare kinds are in no record"]
    );
    assert_eq!(one.seen(day, "nobody.test", 1).await, Lookup::None);
    // No recipient is anywhere in the tables.
    let columns = world.database.sql("SELECT string_agg(column_name, ' ') FROM information_schema.columns WHERE table_schema = 'gatepost' AND table_name LIKE 'dmarc_r%'").await;
    assert!(!columns.contains("recipient") && !columns.contains("envelope_to"), "{columns}");
}

#[tokio::test]
async fn a_stranger_cannot_fill_the_database() {
    let world = World::new().await;
    let store = world.host();
    let known = seen("example.org", "192.0.2.1");
    collect(&store, "1", &[tally(known.clone(), 1)]).await;
    world
        .database
        .sql(&format!(
            "INSERT INTO gatepost.dmarc_rows SELECT day, domain, int4send(n), 1, source, header_from, envelope_from, disposition, dkim_aligned,
                    spf_aligned, reasons, dkim, spf_domain, spf_result FROM gatepost.dmarc_rows, generate_series(1, {}) AS n",
            MAX_ROWS - 2
        ))
        .await;
    let batch: Vec<Tally> = std::iter::once(tally(known, 5))
        .chain((0..10).map(|number| tally(seen("example.org", &format!("192.0.2.{}", 100 + number)), 2)))
        .collect();
    assert_eq!(collect(&store, "2", &batch).await, Collected { late: 0, omitted: 18 });
    assert_eq!(
        world.database.sql("SELECT count(*), max(messages) FROM gatepost.dmarc_rows").await,
        "20000|6"
    );
    assert_eq!(world.database.sql("SELECT omitted FROM gatepost.dmarc_reports").await, "18");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_report_is_one_hosts_to_send() {
    let world = World::new().await;
    let domains: Vec<String> = (0..60).map(|number| format!("d{number}.test")).collect();
    let batch: Vec<Tally> = domains.iter().map(|domain| tally(seen(domain, "192.0.2.1"), 1)).collect();
    let store = world.host();
    collect(&store, "1", &batch).await;
    // Today's are not due, whatever `due_at` says.
    world.database.sql("UPDATE gatepost.dmarc_reports SET due_at = now() - interval '1 hour'").await;
    assert_eq!(store.claim_report("early", "mx").await, Lookup::None);
    world.next_day().await;
    let hosts = (0..4).map(|host| {
        let store = world.host();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            for number in 0.. {
                let claim = store.claim_report(&format!("{host}.{number}"), &format!("mx{host}")).await;
                let Lookup::Found(claim) = claim else { return (claimed, claim == Lookup::None) };
                assert_eq!(store.begin_sending(&claim).await, Lookup::Found(()));
                assert_eq!(store.begin_sending(&claim).await, Lookup::None, "begun twice");
                assert_eq!(store.end_report(&claim, End::Sent, "250 ok").await, Lookup::Found(()));
                claimed.push(claim.domain);
            }
            unreachable!()
        })
    });
    let mut sent: BTreeMap<String, u32> = BTreeMap::new();
    for host in hosts.collect::<Vec<_>>() {
        let (claimed, all) = host.await.unwrap();
        assert!(all, "a host ended with trouble");
        for domain in claimed {
            *sent.entry(domain).or_default() += 1;
        }
    }
    assert_eq!(sent.len(), domains.len());
    assert!(sent.values().all(|times| *times == 1), "{sent:?}");
    // What comes after that is late, and says so; another day's is not.
    let late = [tally(seen("d1.test", "192.0.2.9"), 7)];
    world.database.sql("UPDATE gatepost.dmarc_reports SET day = day + 1").await;
    assert_eq!(collect(&store, "2", &late).await, Collected { late: 7, omitted: 0 });
    world.next_day().await;
    assert_eq!(collect(&store, "3", &late).await, Collected::default());
}

#[tokio::test]
async fn a_host_that_ends_neither_loses_nor_doubles_a_report() {
    let world = World::new().await;
    let (one, two) = (world.host(), world.host());
    collect(&one, "1", &[tally(seen("example.org", "192.0.2.1"), 1)]).await;
    world.next_day().await;
    let claim = async |store: &Store, id: &str| store.claim_report(id, id).await.found();
    // It ends before it began to send: after a while another host takes over. Should it wake, its claim counts no more.
    let first = claim(&one, "one").await.unwrap();
    assert_eq!(claim(&two, "two").await, None);
    world.later().await;
    let second = claim(&two, "two").await.unwrap();
    assert_eq!(second.tries, 2);
    assert_eq!(one.begin_sending(&first).await, Lookup::None);
    assert_eq!(one.end_report(&first, End::Sent, "").await, Lookup::None);
    assert_eq!(one.release_report(&first, Duration::ZERO, "").await, Lookup::None);
    // Given back, it is due later, with the reason; then for another host.
    assert_eq!(
        two.release_report(&second, Duration::from_secs(60), "DNS is away").await,
        Lookup::Found(true)
    );
    assert_eq!(claim(&one, "three").await, None);
    world.database.sql("UPDATE gatepost.dmarc_reports SET due_at = now()").await;
    let third = claim(&one, "three").await.unwrap();
    // It ends while the mail may be on its way: never sent again, and said.
    assert_eq!(one.begin_sending(&third).await, Lookup::Found(()));
    assert_eq!(two.doubt_reports().await, Lookup::Found(vec![]));
    world.later().await;
    assert_eq!(claim(&two, "four").await, None);
    assert_eq!(
        two.doubt_reports().await,
        Lookup::Found(vec![(third.day, "example.org".to_owned(), "three".to_owned())])
    );
    assert_eq!(world.states().await, "example.org|unknown");
    assert_eq!(claim(&two, "five").await, None);
    assert_eq!(two.doubt_reports().await, Lookup::Found(vec![]));
}

#[tokio::test]
async fn a_report_waits_for_a_day_and_not_for_ever() {
    let world = World::new().await;
    let store = world.host();
    collect(&store, "1", &[tally(seen("example.org", "192.0.2.1"), 1)]).await;
    world.next_day().await;
    let claim = store.claim_report("1", "mx").await.found().unwrap();
    let day = Duration::from_secs(86_400);
    // Whatever the hour, a day later is soon enough.
    assert_eq!(store.release_report(&claim, day, "DNS is away").await, Lookup::Found(true));
    world.database.sql("UPDATE gatepost.dmarc_reports SET due_at = now()").await;
    let claim = store.claim_report("2", "mx").await.found().unwrap();
    assert_eq!(store.release_report(&claim, 2 * day, "DNS is away").await, Lookup::Found(false));
    assert_eq!(world.states().await, "example.org|failed");
    // Forgotten after a while, with all that belongs to it.
    assert_eq!(store.forget_reports(2 * day).await, Lookup::Found(0));
    world.next_day().await;
    world.next_day().await;
    assert_eq!(store.forget_reports(2 * day).await, Lookup::Found(1));
    assert_eq!(world.database.sql("SELECT count(*) FROM gatepost.dmarc_rows").await, "0");
}

#[tokio::test]
async fn the_database_away_is_no_answer() {
    let world = World::new().await;
    let store = world.host();
    let batch = [tally(seen("example.org", "192.0.2.1"), 3)];
    collect(&store, "1", &batch).await;
    world.database.take_away().await;
    let away = store.collect("2", &batch, |_, _| Duration::ZERO).await;
    assert!(matches!(away, Lookup::Unavailable(_)), "{away:?}");
    assert!(matches!(store.claim_report("1", "mx").await, Lookup::Unavailable(_)));
    world.database.give_back().await;
    crate::until("back", async || {
        matches!(store.collect("2", &batch, |_, _| Duration::ZERO).await, Lookup::Found(_))
    })
    .await;
    assert_eq!(world.database.sql("SELECT messages FROM gatepost.dmarc_rows").await, "6");
}

fn verdicts(asked: Asked) -> String {
    let Asked::For(judged) = asked else { return format!("{asked:?}") };
    let shown = |one: &Judged| match &one.verdict {
        Verdict::Inside => format!("{} inside", one.asked.address),
        Verdict::Authorized(to) => {
            let to: Vec<String> = to.iter().map(|to| format!("{} {:?}", to.address, to.limit)).collect();
            format!("{} to {}", one.asked.address, to.join(" "))
        }
        Verdict::Refused(why) => format!("{} refused: {why}", one.asked.address),
    };
    judged.iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_get_reports_is_asked_of_dns() {
    let zone = "\
        _dmarc.own.test TXT v=DMARC1; p=none; rua=mailto:agg@own.test,mailto:agg@mail.own.test\n\
        _dmarc.out.test TXT v=DMARC1; p=none; rua=mailto:a@yes.example!10m,mailto:a@no.example,mailto:a@moved.example,mailto:a@away.example\n\
        out.test._report._dmarc.yes.example TXT v=DMARC1;\n\
        out.test._report._dmarc.no.example TXT v=spf1 -all\n\
        out.test._report._dmarc.moved.example TXT v=DMARC1; rua=mailto:new@moved.example!5k\n\
        out.test._report._dmarc.away.example TXT v=DMARC1; rua=mailto:victim@other.example\n\
        _dmarc.sub.parent.test TXT v=DMARC1; p=none; rua=mailto:agg@elsewhere.parent.test\n\
        _dmarc.parent.test TXT v=DMARC1; p=none\n\
        _dmarc.psd TXT v=DMARC1; p=none; psd=y\n\
        _dmarc.one.psd TXT v=DMARC1; p=none; rua=mailto:agg@two.psd\n\
        _dmarc.apart.split.test TXT v=DMARC1; p=none; psd=n; rua=mailto:agg@split.test\n\
        _dmarc.split.test TXT v=DMARC1; p=none\n\
        _dmarc.twice.test TXT v=DMARC1; p=none; rua=mailto:a@twice.test\n\
        _dmarc.twice.test TXT v=DMARC1; p=reject; rua=mailto:b@twice.test\n\
        _dmarc.mute.test TXT v=DMARC1; p=none\n\
        _dmarc.broken.test TXT SERVFAIL\n\
        _dmarc.later.test TXT v=DMARC1; p=none; rua=mailto:a@broken.example\n\
        later.test._report._dmarc.broken.example TXT SERVFAIL\n";
    let dns = Dns::serve(zone);
    let servers =
        gatepost::config::parse::<gatepost::config::NoSection>(&dns.toml(), "x".as_ref()).unwrap().dns;
    let resolver = Resolver::new(&servers).unwrap();
    for (domain, expected) in [
        ("own.test", "agg@own.test inside\nagg@mail.own.test inside"),
        (
            "out.test",
            "a@yes.example to a@yes.example Some(10485760)\n\
             a@no.example refused: out.test._report._dmarc.no.example has no TXT record v=DMARC1\n\
             a@moved.example to new@moved.example Some(5120)\n\
             a@away.example refused: out.test._report._dmarc.away.example sends reports on to another host",
        ),
        ("sub.parent.test", "agg@elsewhere.parent.test inside"),
        ("one.psd", "agg@two.psd refused: one.psd._report._dmarc.two.psd has no TXT record v=DMARC1"),
        (
            "apart.split.test",
            "agg@split.test refused: apart.split.test._report._dmarc.split.test has no TXT record v=DMARC1",
        ),
        ("twice.test", "NotWanted(\"_dmarc.twice.test has 2 DMARC records\")"),
        ("mute.test", "NotWanted(\"_dmarc.mute.test has no usable `rua`\")"),
        ("gone.test", "NotWanted(\"_dmarc.gone.test is gone\")"),
    ] {
        assert_eq!(verdicts(destinations::ask(&resolver, domain).await), expected, "{domain}");
    }
    for away in ["broken.test", "later.test"] {
        let asked = destinations::ask(&resolver, away).await;
        assert!(matches!(asked, Asked::Later(_)), "{away}: {asked:?}");
    }
}
