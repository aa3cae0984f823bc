//! Mail that a real Postfix delivers, or keeps, by what the map `tls` says: to TLS servers with right and wrong certificates, by an MTA-STS policy
//! from a web server and by TLSA records in a signed zone. Needs root: Postfix, and a resolv.conf of its own in a mount namespace.

use std::net::Ipv4Addr;
use std::time::Duration;

use gatepost::config::Seconds;
use gatepost::dns::Resolver;
use gatepost_postfix_policy::tls::{NextHop, Policies, Settings};

use super::peers::{Https, Unbound};
use crate::instance::{Instance, Setup, until};
use crate::ports::free_port;
use crate::postfix::{ALICE, Postfix, socketmap};

/// A domain, the name in its server's certificate, and what becomes of mail to it.
struct Destination {
    domain: &'static str,
    certified: &'static str,
    fate: &'static str,
}

const UNVERIFIED: &str = "status=deferred (Server certificate not verified)";

const DESTINATIONS: [Destination; 7] = [
    Destination { domain: "sts.plain.test", certified: "mx.sts.plain.test", fate: "status=sent" },
    Destination { domain: "wrong.plain.test", certified: "mx.other.plain.test", fate: UNVERIFIED },
    // The certificate is good, but the policy names another host. From 3.10.5 on Postfix does not even go there.
    Destination {
        domain: "unlisted.plain.test",
        certified: "mx.unlisted.plain.test",
        fate: "status=deferred (",
    },
    // Testing is not enforcing (RFC 8461, 5).
    Destination { domain: "testing.plain.test", certified: "mx.nobody.plain.test", fate: "status=sent" },
    // No policy: as Postfix does without one.
    Destination { domain: "open.plain.test", certified: "mx.else.plain.test", fate: "status=sent" },
    Destination { domain: "good.signed.test", certified: "mx.good.signed.test", fate: "status=sent" },
    // A good certificate, but not the one that the TLSA record tells of.
    Destination { domain: "bad.signed.test", certified: "mx.bad.signed.test", fate: UNVERIFIED },
];

fn policy(mode: &str, mx: &str) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_delivers_as_dane_and_mta_sts_demand() {
    gatepost::daemon::install_crypto();
    // A network of the loopback device for this test alone, by chance.
    let [high, low] = free_port().to_be_bytes();
    let address = |number: usize| Ipv4Addr::new(127, 100 + high, low, u8::try_from(number + 1).unwrap());
    let nameserver = address(200);

    let published = [
        ("sts.plain.test", policy("enforce", "*.sts.plain.test")),
        ("wrong.plain.test", policy("enforce", "mx.wrong.plain.test")),
        ("unlisted.plain.test", policy("enforce", "mx1.unlisted.plain.test")),
        ("testing.plain.test", policy("testing", "mx.testing.plain.test")),
    ];
    let https = Https::start(&published.each_ref().map(|(domain, _)| *domain));
    let (mut signed, mut plain, mut servers) = (String::new(), Vec::new(), String::new());
    for (number, Destination { domain, certified, .. }) in DESTINATIONS.iter().enumerate() {
        let (chain, digest) = https.certificate(certified);
        let (address, chain) = (address(number), chain.display().to_string());
        match domain.strip_suffix(".signed.test") {
            Some(name) => {
                let digest = if name == "bad" { "00".repeat(32) } else { digest };
                signed += &format!(
                    "{name} IN MX 10 mx.{name}\nmx.{name} IN A {address}\n_25._tcp.mx.{name} IN TLSA 3 1 1 {digest}\n"
                );
            }
            None => {
                plain.extend([format!("{domain} MX 10 mx.{domain}."), format!("mx.{domain} A {address}")])
            }
        }
        servers += &format!(
            "{address}:25 inet n - n - - smtpd\n  -o syslog_name=postfix/{domain}\n  -o myhostname=mx.{domain}\n  -o mynetworks=127.0.0.0/8\n  \
             -o smtpd_relay_restrictions=permit_mynetworks,reject\n  -o smtpd_sasl_auth_enable=no\n  -o smtpd_sender_restrictions=\n  \
             -o smtpd_tls_security_level=may\n  -o smtpd_tls_chain_files={chain}\n  -o content_filter=discard:\n"
        );
    }
    let unbound = Unbound::start_also(&signed, Some(nameserver));
    for record in plain {
        unbound.add(&record);
    }
    for (domain, text) in &published {
        unbound.add(&format!("mta-sts.{domain} A 127.0.0.1"));
        unbound.add(&format!("_mta-sts.{domain} TXT \"v=STSv1; id=1;\""));
        https.publish(domain, "txt", text);
    }

    let settings = unbound.toml();
    let instance = Instance::start(&Setup { settings, schema: true, ..Setup::default() }).await;
    // The authority of the test is known to another host only; it fetches the policies, and the daemon takes them from SQL.
    let settings = Settings { fetch_timeout: Seconds(Duration::from_secs(5)), ..Settings::default() };
    let resolver = Resolver::new(&unbound.config()).unwrap();
    let other = Policies::with(resolver, instance.parts.store.clone(), settings, &https.elsewhere());
    for (domain, _) in &published {
        let _ = other.policy(&NextHop::parse(domain).unwrap()).await;
        assert_eq!(https.asked(domain), 1, "{domain}");
    }

    // From 3.10 on Postfix takes the attributes of TLSRPT, and from 3.10.5 on it needs them to compare MX hosts with a policy.
    let version =
        std::process::Command::new("postconf").args(["-dh", "mail_version"]).output().unwrap().stdout;
    let version: Vec<u32> =
        String::from_utf8(version).unwrap().trim().split('.').filter_map(|part| part.parse().ok()).collect();
    let map = if version >= vec![3, 10] { "tls-tlsrpt" } else { "tls" };
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    std::fs::write(&resolv_conf, format!("nameserver {nameserver}\noptions trust-ad edns0\n")).unwrap();
    let main = format!(
        "default_transport = smtp:\nsmtpd_data_restrictions =\nsmtp_dns_support_level = dnssec\nsmtp_host_lookup = dns\nsmtp_tls_security_level = may\n\
         smtp_tls_policy_maps = {}:{map}\nsmtp_tls_CAfile = {}\nsmtp_tls_loglevel = 1\n",
        socketmap(&instance),
        https.authority().display()
    );
    let postfix = Postfix::start_resolving(&instance, &main, &servers, &resolv_conf).await;
    for Destination { domain, .. } in &DESTINATIONS {
        let to = format!("RCPT TO:<friend@{domain}>");
        postfix
            .session(&[
                ("EHLO client.test", "250 "),
                (ALICE, "235 "),
                ("MAIL FROM:<alice@example.com>", "250 "),
                (&to, "250 "),
                ("DATA", "354 "),
                ("Subject: x\r\n\r\nx\r\n.", "250 "),
                ("QUIT", "221 "),
            ])
            .await;
    }
    for (number, Destination { domain, fate, .. }) in DESTINATIONS.iter().enumerate() {
        let relay = format!("relay=mx.{domain}[{}]:25,", address(number));
        let mut line = String::new();
        until(&format!("the fate of {domain}"), async || {
            let log = postfix.log();
            let to = format!("to=<friend@{domain}>,");
            line = log
                .lines()
                .find(|line| line.contains("/smtp[") && line.contains(&to))
                .unwrap_or_default()
                .to_owned();
            !line.is_empty()
        })
        .await;
        println!("{line}");
        assert!(line.contains(fate), "{domain}: {line}\n{}", postfix.log());
        assert!(line.contains(&relay) || *domain == "unlisted.plain.test", "{domain}: {line}");
    }
    // How sure Postfix was of whom it spoke with.
    for (domain, trust) in [
        ("sts.plain.test", "Verified"),
        ("testing.plain.test", "Trusted"),
        ("open.plain.test", "Trusted"),
        ("good.signed.test", "Verified"),
    ] {
        let said = format!("{trust} TLS connection established to mx.{domain}[");
        assert!(postfix.log().contains(&said), "no \"{said}\"\n{}", postfix.log());
    }
    postfix.stop().await;
    instance.stop().await;
}
