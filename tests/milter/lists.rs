//! Lists in DNS as a message meets them: asked once for each name, believed only when tried, never scored when they refuse or lie.

use std::sync::Arc;
use std::time::Duration;

use gatepost::config::{self, Seconds, Secret};
use gatepost::dns::Resolver;
use gatepost::telemetry::Metrics;
use gatepost_milter::authentication::Authentication;
use gatepost_milter::facts::Facts;
use gatepost_milter::lists::health::Health;
use gatepost_milter::lists::plan::Limits;
use gatepost_milter::lists::presets::{List, SPAMCOP, SPAMHAUS_DBL, SPAMHAUS_ZEN, SURBL, URIBL};
use gatepost_milter::lists::settings::{Named, Settings};
use gatepost_milter::lists::{Listed, Lists};
use gatepost_milter::message::{Direction, Envelope, Message};
use tokio::time::Instant;

use crate::dns::{Dns, data, message, question, record};

const EML: &str = "From: a@sender.com\n\nhttp://www.pills.com/1 http://pills.com/2 http://PILLS.com/3\n";

fn facts() -> Facts {
    let mut envelope = Envelope::new(Direction::Inbound);
    envelope.client_address = "203.0.113.5".parse().ok();
    Facts::gather(&Message::from_eml(EML.as_bytes()), &envelope, &Authentication::not_asked())
}

/// With time for a busy machine; what is never answered is waited for.
fn resolver(dns: &Dns) -> Resolver {
    let timeout = Seconds(Duration::from_secs(2));
    Resolver::new(&config::Dns { servers: vec![dns.address()], timeout, ..config::Dns::default() }).unwrap()
}

fn lists(lists: &[&'static List]) -> Lists {
    Lists::new(lists.to_vec(), Limits { names: 20 }, None, Arc::new(Health::default()))
}

async fn asked(lists: &Lists, dns: &Dns) -> Listed {
    lists.ask(&facts(), &resolver(dns), Instant::now() + Duration::from_secs(60)).await
}

fn missing(listed: &Listed) -> Vec<&'static str> {
    listed.missing.iter().copied().collect()
}

#[tokio::test]
async fn each_name_is_asked_for_once_and_each_list_tried() {
    let dns = Dns::serve(
        "test.surbl.org.multi.surbl.org A 127.0.0.254\npills.com.multi.surbl.org A 127.0.0.72\n\
         2.0.0.127.zen.spamhaus.org A 127.0.0.2\n5.113.0.203.zen.spamhaus.org A 127.0.0.4\n",
    );
    let lists = lists(&[&SPAMHAUS_ZEN, &SURBL]);
    let listed = asked(&lists, &dns).await;
    assert_eq!(listed.evidence("ABUSE_SURBL").as_deref(), Some("pills.com"));
    assert_eq!(listed.evidence("PH_SURBL_MULTI").as_deref(), Some("pills.com"));
    assert_eq!(listed.evidence("RBL_SPAMHAUS_XBL").as_deref(), Some("203.0.113.5"));
    assert_eq!(missing(&listed), [""; 0]);
    let mut questions = dns.questions();
    questions.sort();
    assert_eq!(
        questions,
        [
            "1.0.0.127.zen.spamhaus.org 1",
            "2.0.0.127.zen.spamhaus.org 1",
            "5.113.0.203.zen.spamhaus.org 1",
            "invalid.multi.surbl.org 1",
            "pills.com.multi.surbl.org 1",
            "sender.com.multi.surbl.org 1",
            "test.surbl.org.multi.surbl.org 1",
        ]
    );
    // The next message finds them tried.
    assert_eq!(asked(&lists, &dns).await, listed);
    assert_eq!(dns.asked("invalid.multi.surbl.org"), 1);
}

#[tokio::test]
async fn a_list_that_refuses_is_off_and_scores_nothing() {
    for (list, zone, refusal) in [
        (&SPAMHAUS_ZEN, "zen.spamhaus.org", "127.255.255.254"),
        (&SPAMHAUS_DBL, "dbl.spamhaus.org", "127.255.255.255"),
        (&URIBL, "multi.uribl.com", "127.0.0.1"),
        (&SURBL, "multi.surbl.org", "127.0.0.1"),
    ] {
        let address = refusal.to_owned();
        let dns = Dns::scripted(move |query, _| {
            let (_, _, end) = question(query).unwrap();
            vec![message(&query[..end], 0, 0, &[record(&[0xc0, 12], 1, &data("A", &address))], &[])]
        });
        let lists = lists(&[list]);
        let listed = asked(&lists, &dns).await;
        let mut expected = Listed::default();
        expected.missing.insert(list.name);
        assert_eq!(listed, expected, "{zone}");
        let before = dns.questions().len();
        assert_eq!(missing(&asked(&lists, &dns).await), [list.name]);
        assert_eq!(dns.questions().len(), before, "{zone} is left alone");
    }
}

#[tokio::test]
async fn a_list_that_lists_everything_is_off_and_scores_nothing() {
    let dns = Dns::scripted(|query, _| {
        let (_, _, end) = question(query).unwrap();
        vec![message(&query[..end], 0, 0, &[record(&[0xc0, 12], 1, &[127, 0, 0, 2])], &[])]
    });
    let both = lists(&[&SPAMHAUS_ZEN, &URIBL]);
    let listed = asked(&both, &dns).await;
    assert_eq!(missing(&listed), ["spamhaus-zen", "uribl"]);
    assert!(listed.evidence("RBL_SPAMHAUS_SBL").is_none() && listed.evidence("URIBL_BLACK").is_none());
}

/// A domain that was bought by somebody else, or a resolver that answers everything with a page of advertisements.
#[tokio::test]
async fn an_address_that_is_no_listing_means_nothing() {
    let dns =
        Dns::serve("pills.com.multi.surbl.org A 203.0.113.72\n5.113.0.203.zen.spamhaus.org A 10.0.0.2\n");
    let listed = asked(&lists(&[&SPAMHAUS_ZEN, &SURBL]), &dns).await;
    assert_eq!(listed, Listed::default());
}

#[tokio::test]
async fn silence_is_missing_and_neither_listed_nor_clean() {
    let dns = Dns::serve(
        "test.surbl.org.multi.surbl.org A 127.0.0.254\npills.com.multi.surbl.org A DROP\n\
         2.0.0.127.zen.spamhaus.org A 127.0.0.2\n5.113.0.203.zen.spamhaus.org A 127.0.0.4\n",
    );
    let listed = asked(&lists(&[&SPAMHAUS_ZEN, &SURBL]), &dns).await;
    assert_eq!(missing(&listed), ["surbl"]);
    assert_eq!(listed.evidence("RBL_SPAMHAUS_XBL").as_deref(), Some("203.0.113.5"));

    let silent = Dns::scripted(|_, _| Vec::new());
    let both = lists(&[&SPAMHAUS_ZEN, &SURBL]);
    let end = Instant::now() + Duration::from_millis(40);
    let listed = both.ask(&facts(), &resolver(&silent), end).await;
    assert_eq!(missing(&listed), ["spamhaus-zen", "surbl"]);
}

/// What was listed by a list that could not be tried counts only once it was.
#[tokio::test]
async fn an_answer_does_not_count_before_the_list_was_tried() {
    let dns = Dns::serve(
        "1.0.0.127.zen.spamhaus.org A SERVFAIL\n2.0.0.127.zen.spamhaus.org A 127.0.0.2\n5.113.0.203.zen.spamhaus.org A 127.0.0.4\n",
    );
    let zen = lists(&[&SPAMHAUS_ZEN]);
    let listed = asked(&zen, &dns).await;
    assert_eq!(missing(&listed), ["spamhaus-zen"]);
    assert!(listed.evidence("RBL_SPAMHAUS_XBL").is_none());
    dns.change("2.0.0.127.zen.spamhaus.org A 127.0.0.2\n5.113.0.203.zen.spamhaus.org A 127.0.0.4\n");
    assert!(asked(&zen, &dns).await.evidence("RBL_SPAMHAUS_XBL").is_some());
}

#[tokio::test]
async fn those_with_a_key_ask_elsewhere() {
    let dns = Dns::serve(
        "2.0.0.127.k3y.zen.dq.spamhaus.net A 127.0.0.2\n5.113.0.203.k3y.zen.dq.spamhaus.net A 127.0.0.9\n",
    );
    let key = Some(Secret::new("k3y".to_owned()));
    let lists =
        Lists::new(vec![&SPAMHAUS_ZEN, &SURBL], Limits { names: 20 }, key, Arc::new(Health::default()));
    assert!(!format!("{lists:?}").contains("k3y"));
    let listed = asked(&lists, &dns).await;
    assert!(listed.evidence("RBL_SPAMHAUS_DROP").is_some());
    assert_eq!(dns.asked("5.113.0.203.zen.spamhaus.org"), 0);
    assert_eq!(dns.asked("pills.com.multi.surbl.org"), 1);
}

/// An operator who asks for few questions gets few, and those about what weighs most.
#[tokio::test]
async fn a_list_is_asked_no_more_than_is_set_for_it() {
    let dns = Dns::serve(
        "test.surbl.org.multi.surbl.org A 127.0.0.254\npills.com.multi.surbl.org A 127.0.0.72\ntest.uribl.com.multi.uribl.com A 127.0.0.14\n",
    );
    let mut settings = Settings { enabled: true, ..Settings::default() };
    settings.questions.insert(Named(&SURBL), 1);
    let lists = Lists::configured(&settings, None, Arc::new(Health::default()));
    let listed = asked(&lists, &dns).await;
    assert_eq!(listed.evidence("ABUSE_SURBL").as_deref(), Some("pills.com"));
    let counted =
        |name: &str| (dns.asked(&format!("pills.com.{name}")), dns.asked(&format!("sender.com.{name}")));
    assert_eq!((counted("multi.surbl.org"), counted("multi.uribl.com")), ((1, 0), (1, 1)));
}

#[tokio::test]
async fn each_list_is_counted() {
    let dns = Dns::serve(
        "test.surbl.org.multi.surbl.org A 127.0.0.254\npills.com.multi.surbl.org A 127.0.0.72\n\
         2.0.0.127.zen.spamhaus.org A 127.0.0.2\n5.113.0.203.zen.spamhaus.org A DROP\n\
         2.0.0.127.bl.spamcop.net A 127.255.255.254\n",
    );
    let registry = Metrics::with_prefix("gatepost_milter");
    let health = Arc::new(Health::counted(&registry));
    let wanted: Vec<&'static List> = vec![&SPAMHAUS_ZEN, &SURBL, &SPAMCOP, &URIBL];
    let lists = Lists::new(wanted, Limits { names: 20 }, None, Arc::clone(&health));
    asked(&lists, &dns).await;
    let expected = |counts: &[(&str, &str, &str)]| {
        let text = registry.text();
        for (name, list, value) in counts {
            let line = format!("gatepost_milter_list_{name}{{list=\"{list}\"}} {value}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    };
    expected(&[
        ("questions_total", "surbl", "2"),
        ("findings_total", "surbl", "1"),
        ("failures_total", "surbl", "0"),
        ("off", "surbl", "0"),
        ("questions_total", "spamhaus-zen", "1"),
        ("failures_total", "spamhaus-zen", "1"),
        ("off", "spamhaus-zen", "0"),
        ("off", "spamcop", "1"),
        ("findings_total", "spamcop", "0"),
    ]);
    // With another resolver everything is tried again; what was counted stays.
    let lists = Lists::new(vec![&SURBL], Limits { names: 20 }, None, Arc::new(health.forgotten()));
    expected(&[("off", "spamcop", "0")]);
    asked(&lists, &dns).await;
    expected(&[("questions_total", "surbl", "4"), ("findings_total", "surbl", "2")]);
}
