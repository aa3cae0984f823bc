//! The resolver against a name server on the loopback device that says what it should, and what no server should ever say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatepost::config::{self, DnssecTrust, Seconds};
use gatepost::directory::Lookup;
use gatepost::dns::{Answer, Dnssec, Resolver};

use crate::dns_server::{AD, CNAME, Dns, TC, data, encoded, message, question, record};

/// Waits for an answer as long as a busy machine may need.
fn resolver(server: &Dns) -> Resolver {
    resolver_with(server, DnssecTrust::Auto, PATIENT)
}

/// For a server that does not answer, or not so that it counts.
fn hasty(server: &Dns) -> Resolver {
    resolver_with(server, DnssecTrust::Auto, HASTY)
}

fn resolver_with(server: &Dns, dnssec: DnssecTrust, timeout: Duration) -> Resolver {
    let config = config::Dns {
        servers: vec![server.address()],
        timeout: Seconds(timeout),
        dnssec,
        ..config::Dns::default()
    };
    Resolver::new(&config).unwrap()
}

const PATIENT: Duration = Duration::from_secs(20);
const HASTY: Duration = Duration::from_millis(200);

const ZONE: &str = "x.test TXT hello\nx.test A 192.0.2.1\nx.test AAAA 2001:db8::1\nx.test MX 20 b.x.test\nx.test MX 10 a.x.test\n\
                    www.x.test CNAME x.test\n1.2.0.192.in-addr.arpa PTR X.test\nbroken.test TXT SERVFAIL\nsilent.test TXT DROP\n\
                    deep.er.test A 192.0.2.2\n";

#[tokio::test]
async fn answers_of_every_type() {
    let resolver = resolver(&Dns::serve(ZONE));
    assert_eq!(resolver.txt("X.test.").await, Lookup::Found(vec!["hello".into()]));
    assert_eq!(resolver.txt("www.x.test").await, Lookup::Found(vec!["hello".into()]), "through the alias");
    let exchangers = vec![(10, "a.x.test".into()), (20, "b.x.test".into())];
    assert_eq!(resolver.mx("x.test").await, Lookup::Found(exchangers));
    let both = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(resolver.addresses("x.test").await, Lookup::Found(both));
    assert_eq!(resolver.names("192.0.2.1".parse().unwrap()).await, Lookup::Found(vec!["x.test".into()]));
}

#[tokio::test]
async fn not_there_and_cannot_say_are_never_the_same() {
    let server = Dns::serve(ZONE);
    let resolver = resolver(&server);
    assert_eq!(resolver.txt("none.test").await, Lookup::None);
    assert_eq!(resolver.mx("www.x.test.x.test").await, Lookup::None);
    assert_eq!(resolver.txt("deep.er.test").await, Lookup::None);
    assert!(matches!(resolver.txt("broken.test").await, Lookup::Unavailable(_)));
    assert!(matches!(hasty(&server).txt("silent.test").await, Lookup::Unavailable(_)));
    // A name that DNS cannot hold is not there, and nobody is asked.
    for impossible in ["a..b", &format!("{}.test", "a".repeat(64)), &"a.".repeat(130)] {
        assert_eq!(resolver.txt(impossible).await, Lookup::None, "{impossible}");
    }
    // NXDOMAIN is another thing than "no such record" (RFC 8020).
    assert_eq!(resolver.exists("none.test").await, Lookup::None);
    assert_eq!(resolver.exists("er.test").await, Lookup::Found(()), "names below it");
    assert_eq!(resolver.exists("broken.test").await, Lookup::Found(()), "no A record");
    assert_eq!(resolver.exists("x.test").await, Lookup::Found(()));
}

#[tokio::test]
async fn answers_failures_and_absence_are_remembered() {
    let server = Dns::serve(ZONE);
    let resolver = resolver(&server);
    for _ in 0..3 {
        let _ = resolver.clone().txt("X.test").await;
        let _ = resolver.txt("none.test.").await;
        let _ = resolver.limited(9).txt("broken.test").await;
    }
    assert_eq!(server.asked("x.test"), 1);
    assert_eq!(server.asked("none.test"), 1);
    // Twice: each question is tried again before it counts as a failure.
    assert_eq!(server.asked("broken.test"), 2);
}

#[tokio::test]
async fn one_message_asks_so_much_and_no_more() {
    let resolver = resolver(&Dns::serve(ZONE));
    let limited = resolver.limited(2);
    assert!(limited.txt("x.test").await.is_found());
    assert!(limited.clone().txt("none.test").await.is_none());
    assert!(matches!(limited.txt("x.test").await, Lookup::Unavailable(why) if why.contains("too many")));
    assert!(resolver.txt("x.test").await.is_found(), "the others are not concerned");
}

#[tokio::test]
async fn what_does_not_fit_comes_over_tcp() {
    let long = "x".repeat(60_000);
    let server = Dns::serve(&format!("long.test TXT {long}\nshort.test TXT x\n"));
    let resolver = resolver(&server);
    assert_eq!(resolver.txt("long.test").await, Lookup::Found(vec![long]));
    assert!(server.connections() > 0);
    assert!(resolver.txt("short.test").await.is_found());
}

#[tokio::test]
async fn truncated_over_tcp_too_is_a_failure() {
    let server = Dns::scripted(|query, _| answered(query, TC, &[]));
    assert!(matches!(resolver(&server).txt("x.test").await, Lookup::Unavailable(_)));
}

/// A response to `query` with these records.
fn answered(query: &[u8], bits: u8, answers: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (_, _, end) = question(query).unwrap();
    vec![message(&query[..end], bits, 0, answers, &[])]
}

/// A name compressed to the question's.
const ASKED: [u8; 2] = [0xc0, 12];

#[tokio::test]
async fn chains_of_aliases_end() {
    // Each name is an alias of the next, for ever.
    let server = Dns::scripted(|query, _| {
        let (name, _, _) = question(query).unwrap();
        let number: u32 = name.split('.').next().unwrap().parse().unwrap();
        answered(query, 0, &[record(&ASKED, CNAME, &encoded(&format!("{}.chain.test", number + 1)))])
    });
    let found = resolver(&server).txt("0.chain.test").await;
    assert!(matches!(found, Lookup::Unavailable(why) if why.contains("aliases")));
    assert!(server.questions().len() <= 14, "{:?}", server.questions());
    // All in one answer, in a circle.
    let server = Dns::scripted(|query, _| {
        let (a, b) = (encoded("a.test"), encoded("b.test"));
        answered(query, 0, &[record(&a, CNAME, &b), record(&b, CNAME, &a)])
    });
    assert!(matches!(resolver(&server).txt("a.test").await, Lookup::Unavailable(_)));
    assert_eq!(server.questions().len(), 1, "the answer said it all");
}

#[tokio::test]
async fn an_alias_is_followed_in_its_own_order_only() {
    // The target before the alias, and between them a record of a name that nobody asked for.
    let server = Dns::scripted(|query, _| {
        let (asked, target, other) = (encoded("a.test"), encoded("b.test"), encoded("evil.test"));
        let text = |text: &str| data("TXT", text);
        let answers = [
            record(&target, 16, &text("right")),
            record(&other, 16, &text("wrong")),
            record(&asked, CNAME, &target),
        ];
        answered(query, 0, &answers)
    });
    assert_eq!(resolver(&server).txt("a.test").await, Lookup::Found(vec!["right".into()]));
}

#[tokio::test]
async fn records_that_were_not_asked_for_are_none() {
    for (name, answer) in [
        ("another type", record(&ASKED, 1, &[192, 0, 2, 1])),
        ("another name", record(&encoded("evil.test"), 16, &data("TXT", "v=spf1 +all"))),
        ("a name above", record(&encoded("test"), 16, &data("TXT", "v=spf1 +all"))),
    ] {
        let server = Dns::scripted(move |query, _| answered(query, 0, std::slice::from_ref(&answer)));
        assert_eq!(resolver(&server).txt("x.test").await, Lookup::None, "{name}");
    }
    // In the authority section, records count for nothing.
    let server = Dns::scripted(|query, _| {
        let (_, _, end) = question(query).unwrap();
        vec![message(&query[..end], 0, 0, &[], &[record(&ASKED, 16, &data("TXT", "v=spf1 +all"))])]
    });
    assert_eq!(resolver(&server).txt("x.test").await, Lookup::None);
}

#[tokio::test]
async fn forged_packets_are_passed_over() {
    let server = Dns::scripted(|query, _| {
        let forged = |change: fn(&mut Vec<u8>)| {
            let mut packet = answered(query, 0, &[record(&ASKED, 16, &data("TXT", "forged"))]).remove(0);
            change(&mut packet);
            packet
        };
        let mut packets = vec![
            forged(|packet| packet[0] ^= 0xff),
            // Another question under the right id.
            forged(|packet| packet[13] ^= 1),
            Vec::new(),
            vec![0; 3],
        ];
        packets.extend(answered(query, 0, &[record(&ASKED, 16, &data("TXT", "real"))]));
        packets
    });
    assert_eq!(resolver(&server).txt("x.test").await, Lookup::Found(vec!["real".into()]));
}

#[tokio::test]
async fn packets_that_are_none_are_failures() {
    for (name, change) in [
        ("cut in a record", (|packet| packet.truncate(packet.len() - 3)) as fn(&mut Vec<u8>)),
        ("a record that claims more", |packet| {
            let at = packet.len() - 8;
            packet[at] = 0xff;
        }),
        ("a pointer to itself", |packet| {
            let at = packet.len() - 20;
            packet[at..at + 2].copy_from_slice(&[0xc0, at as u8]);
        }),
        ("a count of 65535 records", |packet| packet[6..8].copy_from_slice(&[0xff, 0xff])),
    ] {
        let server = Dns::scripted(move |query, _| {
            let mut packets = answered(query, 0, &[record(&ASKED, 16, &data("TXT", "hello!!"))]);
            change(&mut packets[0]);
            packets
        });
        assert!(matches!(hasty(&server).txt("x.test").await, Lookup::Unavailable(_)), "{name}");
    }
}

#[tokio::test]
async fn a_lost_packet_is_asked_for_again() {
    let asked = AtomicUsize::new(0);
    let server = Dns::scripted(move |query, _| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Vec::new(),
        _ => answered(query, 0, &[record(&ASKED, 16, &data("TXT", "late"))]),
    });
    let resolver = resolver_with(&server, DnssecTrust::Auto, Duration::from_secs(2));
    assert_eq!(resolver.txt("x.test").await, Lookup::Found(vec!["late".into()]));
}

#[tokio::test]
async fn the_next_server_answers_for_a_dead_one() {
    let alive = Dns::serve(ZONE);
    // Nobody listens there any more.
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = config::Dns {
        servers: vec![dead, alive.address()],
        timeout: Seconds(PATIENT),
        ..config::Dns::default()
    };
    assert!(Resolver::new(&config).unwrap().txt("x.test").await.is_found());
}

#[tokio::test]
async fn the_word_of_a_validating_resolver_is_kept() {
    let status = |found: Lookup<Answer<Vec<u8>>>| found.found().map(|answer| answer.dnssec);
    let server = Dns::serve_validated(ZONE);
    for (trust, expected) in [
        (DnssecTrust::Auto, Dnssec::Secure),
        (DnssecTrust::TrustAd, Dnssec::Secure),
        (DnssecTrust::Off, Dnssec::Unknown),
    ] {
        let resolver = resolver_with(&server, trust, PATIENT);
        // From the server, from memory, and through an alias.
        for name in ["x.test", "x.test", "www.x.test"] {
            assert_eq!(status(resolver.txt_bytes(name).await), Some(expected), "{trust:?} {name}");
        }
    }
    let plain = resolver_with(&Dns::serve(ZONE), DnssecTrust::TrustAd, PATIENT);
    assert_eq!(status(plain.txt_bytes("x.test").await), Some(Dnssec::Unknown));
    // A chain is as secure as its weakest link.
    let half = Dns::scripted(|query, _| {
        let (name, _, _) = question(query).unwrap();
        let mut packets = match name.as_str() {
            "a.test" => answered(query, 0, &[record(&ASKED, CNAME, &encoded("b.test"))]),
            _ => answered(query, 0, &[record(&ASKED, 16, &data("TXT", "x"))]),
        };
        if name == "b.test" {
            packets[0][3] |= AD;
        }
        packets
    });
    assert_eq!(status(resolver(&half).txt_bytes("a.test").await), Some(Dnssec::Unknown));
}
