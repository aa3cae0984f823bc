//! How mail must be encrypted on its way out: MTA-STS from a real web server, DANE from a zone that Unbound really validates.

mod deliveries;
mod peers;

use std::sync::Arc;
use std::time::Duration;

use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost_postfix_policy::tls::{Dane, Fetcher, NextHop, Policies, Policy, Settings};

use self::peers::{Https, Unbound};
use crate::instance::{Instance, Setup};

const ENFORCE: &str =
    "version: STSv1\nmode: enforce\nmx: mx.outside.test\nmx: *.outside.test\nmax_age: 86400\n";

/// Hosts with and without TLSA, and domains whose mail they take. The digest is 32 bytes of anything.
const SIGNED: &str = "
one      IN A    192.0.2.1
two      IN A    192.0.2.2
two      IN AAAA 2001:db8::2
none     IN A    192.0.2.3
forged   IN A    192.0.2.66
sha512   IN A    192.0.2.4
cert     IN A    192.0.2.5
_25._tcp.one    IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
_587._tcp.one   IN TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
_25._tcp.two    IN TLSA 2 0 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
_25._tcp.cert   IN TLSA 1 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
_25._tcp.sha512 IN TLSA 3 1 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
all      IN MX 10 one
all      IN MX 20 two
some     IN MX 10 one
some     IN MX 20 none
without  IN MX 10 none
unusable IN MX 10 cert
short    IN MX 10 sha512
abroad   IN MX 10 mx.plain.test.
null     IN MX 0 .
_mta-sts.all IN TXT \"v=STSv1; id=1\"
";

struct World {
    unbound: Unbound,
    https: Https,
    /// Its database and store are used; its own sockets are not.
    instance: Instance,
}

impl World {
    async fn new(names: &[&str]) -> Self {
        let setup = Setup { schema: true, ..Setup::default() };
        gatepost::daemon::install_crypto();
        Self {
            unbound: Unbound::start(SIGNED),
            https: Https::start(names),
            instance: Instance::start(&setup).await,
        }
    }

    /// A host that knows nothing yet.
    fn host(&self) -> Policies {
        let settings = Settings { fetch_timeout: Seconds(Duration::from_secs(2)), ..Settings::default() };
        let resolver = Resolver::new(&self.unbound.config()).unwrap();
        Policies::with(resolver, self.instance.parts.store.clone(), settings, &self.https.elsewhere())
    }

    /// A domain below `plain.test` with an MTA-STS record and a policy.
    fn domain(&self, name: &str, id: &str, policy: &str) {
        self.unbound.add(&format!("mta-sts.{name} A 127.0.0.1"));
        self.unbound.add(&format!("_mta-sts.{name} TXT \"v=STSv1; id={id};\""));
        self.https.publish(name, "txt", policy);
    }

    async fn sql(&self, statements: &str) -> String {
        self.instance.database.sql(statements).await
    }
}

async fn answer(host: &Policies, key: &str) -> Lookup<Policy> {
    host.policy(&NextHop::parse(key).unwrap()).await
}

/// Whether MTA-STS is to be enforced.
async fn enforced(host: &Policies, key: &str) -> bool {
    match answer(host, key).await {
        Lookup::Found(Policy::Sts { policy, .. }) => {
            assert_eq!(policy.to_string(), ENFORCE);
            true
        }
        Lookup::None => false,
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_fetched_once_and_kept_for_all_hosts() {
    let world = World::new(&["a.plain.test"]).await;
    world.domain("a.plain.test", "1", ENFORCE);
    let host = Arc::new(world.host());
    // Fifty questions at once are one fetch.
    let asked = (0..50).map(|_| {
        let host = Arc::clone(&host);
        tokio::spawn(async move { enforced(&host, "A.plain.test").await })
    });
    for answer in futures_util::future::join_all(asked).await {
        assert!(answer.unwrap());
    }
    assert_eq!(world.https.asked("a.plain.test"), 1);
    assert_eq!(world.sql("SELECT domain, id FROM gatepost.mta_sts").await, "a.plain.test|1");
    assert!(enforced(&world.host(), "a.plain.test:25").await, "another host takes it from SQL");
    assert_eq!(world.https.asked("a.plain.test"), 1);
    assert!(!enforced(&host, "[a.plain.test]").await, "a host in brackets has no MX, so no MTA-STS");
    assert!(!enforced(&host, "other.plain.test").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_id_brings_a_new_policy_and_an_old_one_outlives_its_record() {
    let world = World::new(&["a.plain.test"]).await;
    world.domain("a.plain.test", "1", ENFORCE);
    assert!(enforced(&world.host(), "a.plain.test").await);
    let long_ago = "UPDATE gatepost.mta_sts SET checked_at = now() - interval '1 hour'";
    // The same id: the policy is not asked for again, though there is another by now.
    world.https.publish("a.plain.test", "txt", &ENFORCE.replace("enforce", "none"));
    world.sql(long_ago).await;
    assert!(enforced(&world.host(), "a.plain.test").await);
    assert_eq!(world.https.asked("a.plain.test"), 1);
    // Neither a record that is gone nor a web server that has nothing takes a policy away.
    world.unbound.remove("_mta-sts.a.plain.test");
    world.sql(long_ago).await;
    assert!(enforced(&world.host(), "a.plain.test").await);
    world.unbound.add("_mta-sts.a.plain.test TXT \"v=STSv1; id=2\"");
    world.https.withdraw("a.plain.test");
    world.sql(long_ago).await;
    assert!(enforced(&world.host(), "a.plain.test").await);
    assert_eq!(world.https.asked("a.plain.test"), 2);
    // The new one says that there is none any more.
    world.https.publish("a.plain.test", "txt", "version: STSv1\nmode: none\nmax_age: 86400\n");
    world.sql(long_ago).await;
    assert!(!enforced(&world.host(), "a.plain.test").await);
    assert_eq!(world.sql("SELECT id FROM gatepost.mta_sts").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_counts_until_it_expires_and_not_longer() {
    let world = World::new(&["a.plain.test"]).await;
    world.domain("a.plain.test", "1", ENFORCE);
    assert!(enforced(&world.host(), "a.plain.test").await);
    world.unbound.remove("_mta-sts.a.plain.test");
    world.sql("UPDATE gatepost.mta_sts SET expires_at = now() - interval '1 second'").await;
    assert!(!enforced(&world.host(), "a.plain.test").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_policy_is_none() {
    let names = ["a", "testing", "html", "redirect", "slow", "big", "bad", "absent"]
        .map(|name| format!("{name}.plain.test"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(&names).await;
    let host = world.host();
    for name in &names {
        world.domain(name, "1", ENFORCE);
    }
    world.https.publish("testing.plain.test", "txt", &ENFORCE.replace("enforce", "testing"));
    world.https.publish("html.plain.test", "html", ENFORCE);
    world.https.publish(
        "redirect.plain.test",
        "redirect",
        "https://mta-sts.a.plain.test/.well-known/mta-sts.txt",
    );
    world.https.publish("slow.plain.test", "slow", ENFORCE);
    world.https.publish("big.plain.test", "big", "");
    world.https.publish("bad.plain.test", "txt", "version: STSv1\nmode: enforce\nmx: a b\nmax_age: 1\n");
    world.https.withdraw("absent.plain.test");
    // A host that the certificate does not name.
    world.domain("elsewhere.plain.test", "1", ENFORCE);
    for (name, found) in
        names.iter().map(|name| (*name, *name == "a.plain.test")).chain([("elsewhere.plain.test", false)])
    {
        assert_eq!(enforced(&host, name).await, found, "{name}");
    }
    assert_eq!(
        world.https.asked("elsewhere.plain.test"),
        0,
        "no request is made without a valid certificate"
    );
    assert_eq!(world.https.asked("a.plain.test"), 1, "the redirect was not followed");
    assert_eq!(
        world.sql("SELECT string_agg(domain, ' ' ORDER BY domain) FROM gatepost.mta_sts").await,
        "a.plain.test testing.plain.test"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dane_goes_first_where_dnssec_vouches_for_it() {
    let world = World::new(&["all.signed.test"]).await;
    world.https.publish("all.signed.test", "txt", ENFORCE);
    world.unbound.add("mx.plain.test A 127.0.0.1");
    world.unbound.add(
        "_25._tcp.mx.plain.test TLSA 3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    );
    world.unbound.add("plain.test MX 10 one.signed.test.");
    let host = world.host();
    for (key, expected) in [
        ("all.signed.test", Some(Dane::All)),
        ("some.signed.test", Some(Dane::Some)),
        ("without.signed.test", None),
        // A usage for web servers (RFC 7672, 3.1.3), a digest of the wrong length: Postfix knows what to do about those.
        ("unusable.signed.test", Some(Dane::Some)),
        ("short.signed.test", Some(Dane::Some)),
        // Signed, but its host is not; TLSA without DNSSEC; a domain that is not signed, with a host that is.
        ("abroad.signed.test", None),
        ("[mx.plain.test]", None),
        ("plain.test", None),
        ("null.signed.test", None),
        // No MX: the host itself.
        ("one.signed.test", Some(Dane::All)),
        ("[one.signed.test]:587", Some(Dane::All)),
        ("[one.signed.test]:2525", None),
        ("[two.signed.test]", Some(Dane::All)),
    ] {
        let expected = expected.map_or(Lookup::None, |dane| Lookup::Found(Policy::Dane(dane)));
        assert_eq!(answer(&host, key).await, expected, "{key}");
    }
    assert_eq!(world.https.asked("all.signed.test"), 0, "MTA-STS is not asked where DANE applies");
    // A forged address: nobody can say, so Postfix looks itself and defers.
    assert_eq!(answer(&host, "[forged.signed.test]").await, Lookup::Found(Policy::Dane(Dane::Some)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_is_looked_after_by_one_host_a_day() {
    let names: Vec<String> = (0..20).map(|number| format!("d{number}.plain.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(&names).await;
    let (one, two) = (world.host(), world.host());
    for name in &names {
        world.domain(name, "1", ENFORCE);
        assert!(enforced(&one, name).await);
        world.unbound.remove(&format!("_mta-sts.{name}"));
        world.unbound.add(&format!("_mta-sts.{name} TXT \"v=STSv1; id=2\""));
    }
    let fetcher = Fetcher::new(
        Resolver::new(&world.unbound.config()).unwrap(),
        Duration::from_secs(5),
        &world.https.elsewhere(),
    )
    .unwrap();
    assert_eq!(one.round(&fetcher).await + two.round(&fetcher).await, 0, "nothing is due");
    world.sql("UPDATE gatepost.mta_sts SET checked_at = now() - interval '2 days'").await;
    world
        .sql(
            "UPDATE gatepost.mta_sts SET used_at = now() - interval '60 days' WHERE domain = 'd0.plain.test'",
        )
        .await;
    // Each asks DNS anew: what the process remembers of it is not older than its TTL, which is an hour here.
    let (three, four) = (world.host(), world.host());
    let (three, four) = tokio::join!(three.round(&fetcher), four.round(&fetcher));
    assert_eq!(three + four, 19, "each is given to one host, and the unused one to none");
    assert_eq!(world.sql("SELECT count(*) FROM gatepost.mta_sts WHERE id = '2'").await, "19");
    for name in &names[1..] {
        assert_eq!(world.https.asked(name), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_policies_live_in_memory() {
    let world = World::new(&["a.plain.test"]).await;
    world.domain("a.plain.test", "1", ENFORCE);
    world.instance.database.take_away().await;
    let host = world.host();
    assert!(enforced(&host, "a.plain.test").await);
    assert!(enforced(&host, "a.plain.test:25").await);
    assert_eq!(world.https.asked("a.plain.test"), 1);
    world.instance.database.give_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_is_away_is_no_answer_and_postmap_hears_dane() {
    let unbound = Unbound::start(SIGNED);
    let settings = unbound.toml();
    let instance = Instance::start(&Setup { settings, ..Setup::default() }).await;
    let query = async |map: &str, key: &str| {
        let table = format!("socketmap:unix:{}:{map}", instance.socket("socketmap").display());
        let output =
            tokio::process::Command::new("postmap").args(["-q", key, &table]).output().await.unwrap();
        (String::from_utf8(output.stdout).unwrap().trim_end().to_owned(), output.status.code().unwrap())
    };
    for map in ["tls", "tls-tlsrpt"] {
        assert_eq!(query(map, "all.signed.test").await, ("dane-only".to_owned(), 0));
        assert_eq!(query(map, "some.signed.test").await, ("dane".to_owned(), 0));
        assert_eq!(query(map, "without.signed.test").await, (String::new(), 1));
        assert_eq!(query(map, ".signed.test").await, (String::new(), 1));
    }
    drop(unbound);
    let reply = instance.service.look_up(b"tls never-asked.signed.test").await;
    assert!(reply.text().starts_with("TEMP "), "{}", reply.text());
}
