//! Every row of the table in the module's header, and what nearly is one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use gatepost::dmarc::KnownBy;
use gatepost::mail::Domain;
use proptest::prelude::*;

mod evidence;

use super::*;
use crate::authentication::{
    Aligned, ArcHop, ArcOutcome, ArcRecorded, ArcResult, Authentication, DkimOutcome, DkimResult,
    DmarcOutcome, DmarcPolicy, DmarcResult, IprevOutcome, IprevResult, SpfOutcome, SpfResult, SpfScope,
};
use crate::message::{Direction, Envelope, Message};

fn failing(asked: Policy) -> Evidence {
    Evidence {
        failure: Some(Failure {
            author: "news.bank.test".into(),
            policy_domain: "bank.test".into(),
            tag: "sp",
            asked,
            testing: false,
            checks: "SPF fail for client.test, no DKIM signature".into(),
        }),
        client: "192.0.2.1".parse().ok(),
        name: Proof::Proved("mx.client.test".into()),
        spf: Proof::Proved("bounce.list.test".into()),
        dkim: vec!["list.test".into()],
        recipients: vec![domain("123qwe.com"), domain("example.com")],
        ..Evidence::default()
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// Forwarders as `kind value [recipients]`.
fn exceptions(overrides: &[(&str, Option<Policy>)], forwarders: &[&str]) -> Exceptions {
    let overrides = Overrides::new(overrides.iter().map(|(name, policy)| (domain(name), *policy)));
    let forwarders = forwarders.iter().map(|row| {
        let mut words = row.split(' ');
        let kind = words.next().unwrap().parse().unwrap();
        let by = KnownBy::parse(kind, words.next().unwrap()).unwrap();
        Forwarder { by, recipients: words.next().map(domain) }
    });
    Exceptions {
        overrides: Lookup::Found(Arc::new(overrides)),
        forwarders: Lookup::Found(Arc::new(forwarders.collect())),
    }
}

fn done(evidence: &Evidence, exceptions: &Exceptions) -> (&'static str, String) {
    done_by(evidence, &Settings::default(), exceptions)
}

fn done_by(evidence: &Evidence, settings: &Settings, exceptions: &Exceptions) -> (&'static str, String) {
    let enforcement = decide(evidence, settings, exceptions);
    let reasons: Vec<String> = enforcement.reasons.iter().map(ToString::to_string).collect();
    (enforcement.as_str(), reasons.join(", "))
}

#[test]
fn a_policy_is_followed_where_nothing_speaks_against_it() {
    for policy in [Policy::None, Policy::Quarantine, Policy::Reject] {
        assert_eq!(done(&failing(policy), &Exceptions::none()), (policy.as_str(), String::new()));
    }
    let enforcement = decide(&failing(Policy::Reject), &Settings::default(), &Exceptions::none());
    let Action::Refuse(reply) = enforcement.action else { panic!("{enforcement:?}") };
    assert_eq!(
        reply.to_string(),
        "550 5.7.26 Rejected per DMARC policy for news.bank.test (sp=reject in _dmarc.bank.test): SPF fail for client.test, no DKIM \
         signature; mail from that domain must pass SPF or DKIM for it, see RFC 9989"
    );
    assert_eq!(done(&Evidence::default(), &Exceptions::none()), ("none", String::new()));
}

#[test]
fn the_operators_own_policy_counts_instead_of_the_record() {
    use Policy::{None as Nothing, Quarantine, Reject};
    for (asked, rows, expected) in [
        (Reject, &[("news.bank.test", Some(Nothing))][..], ("none", "local_policy (set to none here)")),
        (Reject, &[("bank.test", Some(Quarantine))], ("quarantine", "local_policy (set to quarantine here)")),
        (Nothing, &[("bank.test", Some(Reject))], ("reject", "local_policy (set to reject here)")),
        (Reject, &[("bank.test", Some(Reject))], ("reject", "")),
        (Reject, &[("bank.test", Some(Nothing)), ("news.bank.test", None)], ("reject", "")),
        (Reject, &[("ank.test", Some(Nothing)), ("other.test", Some(Nothing))], ("reject", "")),
    ] {
        let found = done(&failing(asked), &exceptions(rows, &[]));
        assert_eq!((found.0, found.1.as_str()), expected, "{asked} {rows:?}");
    }
}

#[test]
fn a_record_in_test_mode_is_one_level_milder_unless_the_operator_says_otherwise() {
    for (asked, expected) in [
        (Policy::Reject, ("quarantine", "policy_test_mode (t=y)")),
        (Policy::Quarantine, ("none", "policy_test_mode (t=y)")),
        (Policy::None, ("none", "")),
    ] {
        let mut evidence = failing(asked);
        evidence.failure.as_mut().unwrap().testing = true;
        let found = done(&evidence, &exceptions(&[], &[]));
        assert_eq!((found.0, found.1.as_str()), expected);
        let found = done(&evidence, &exceptions(&[("bank.test", Some(Policy::Reject))], &[]));
        assert_eq!(found.0, "reject");
    }
}

#[test]
fn forwarders_are_known_by_what_they_cannot_make_up() {
    let evidence = failing(Policy::Reject);
    for (forwarder, expected) in [
        ("network 192.0.2.0/24", "none"),
        ("network 192.0.3.0/24", "reject"),
        ("network 2001:db8::/32", "reject"),
        ("spf list.test", "none"),
        ("spf bounce.list.test", "none"),
        ("spf other.test", "reject"),
        ("spf ist.test", "reject"),
        ("spf x.bounce.list.test", "reject"),
        ("dkim list.test", "none"),
        ("dkim bounce.list.test", "reject"),
        ("name client.test", "none"),
        ("name mx.client.test", "none"),
        ("name x.client.test", "reject"),
        ("name list.test", "reject"),
    ] {
        let (found, reasons) = done(&evidence, &exceptions(&[], &[forwarder]));
        assert_eq!(found, expected, "{forwarder}");
        let told =
            if expected == "none" { format!("trusted_forwarder ({forwarder})") } else { String::new() };
        assert_eq!(reasons, told);
    }
}

#[test]
fn one_domains_trust_does_not_open_the_inboxes_of_another() {
    let evidence = failing(Policy::Reject);
    for (rows, expected) in [
        (&["spf list.test example.com"][..], "quarantine"),
        (&["spf list.test example.com", "dkim list.test 123qwe.com"], "none"),
        (&["spf list.test elsewhere.test"], "reject"),
        (&["spf list.test example.com", "network 192.0.2.1"], "none"),
    ] {
        assert_eq!(done(&evidence, &exceptions(&[], rows)).0, expected, "{rows:?}");
    }
    let one = Evidence { recipients: vec![domain("example.com")], ..evidence };
    assert_eq!(done(&one, &exceptions(&[], &["spf list.test example.com"])).0, "none");
    assert_eq!(done(&one, &exceptions(&[], &["spf list.test 123qwe.com"])).0, "reject");
    let quarantined = Evidence { failure: failing(Policy::Quarantine).failure, ..one };
    assert_eq!(done(&quarantined, &exceptions(&[], &["spf list.test example.com"])).0, "none");
}

#[test]
fn what_dns_cannot_say_of_a_forwarder_is_no_refusal() {
    let nobody = Evidence { spf: Proof::None, name: Proof::None, dkim: vec![], ..failing(Policy::Reject) };
    let cases = [
        (Evidence { spf: Proof::Unknown(Some("a.list.test".into())), ..nobody.clone() }, "spf list.test"),
        (Evidence { spf: Proof::Unknown(None), ..nobody.clone() }, "spf list.test"),
        (Evidence { name: Proof::Unknown(None), ..nobody.clone() }, "name list.test"),
        (Evidence { dkim_unknown: vec!["list.test".into()], ..nobody.clone() }, "dkim list.test"),
    ];
    for (evidence, forwarder) in cases {
        assert_eq!(done(&evidence, &exceptions(&[], &[forwarder])).0, "tempfail", "{forwarder}");
        // It matters only to a forwarder that it could be, and that concerns these recipients.
        for other in ["network 198.51.100.0/24", &format!("{forwarder} elsewhere.test")] {
            assert_eq!(done(&evidence, &exceptions(&[], &[other])).0, "reject", "{other}");
        }
        // Another one that it is for certain settles it.
        assert_eq!(done(&evidence, &exceptions(&[], &[forwarder, "network 192.0.2.1"])).0, "none");
    }
    let other = Evidence { spf: Proof::Unknown(Some("other.test".into())), ..nobody };
    assert_eq!(done(&other, &exceptions(&[], &["spf list.test"])).0, "reject");
}

#[test]
fn a_trusted_sealer_that_saw_a_pass_is_believed() {
    let sealer = TrustedSealer { comment: "arc=pass as[1].d=list.test".into() };
    let evidence = Evidence { sealer: Some(sealer), ..failing(Policy::Reject) };
    let expected = ("none", "local_policy (arc=pass as[1].d=list.test)".to_owned());
    assert_eq!(done(&evidence, &exceptions(&[], &[])), expected);
    // The database need not say anything then.
    let away = Lookup::Unavailable("gone".into());
    let away = Exceptions { overrides: Lookup::None, forwarders: away };
    assert_eq!(done(&evidence, &away), expected);
    let unknown = Evidence { chain_unknown: Some("no answer".into()), ..failing(Policy::Reject) };
    assert_eq!(done(&unknown, &exceptions(&[], &[])).0, "tempfail");
    let unknown = Evidence { chain_unknown: Some("no answer".into()), ..failing(Policy::Quarantine) };
    assert_eq!(done(&unknown, &exceptions(&[], &[])).0, "quarantine");
}

#[test]
fn settings_make_it_milder_and_say_so() {
    let (default, list) = (Settings::default(), Some("members.list.test".to_owned()));
    let by_list = |policy| Evidence { list: list.clone(), ..failing(policy) };
    let lists = Settings { mailing_lists: MailingLists::Quarantine, ..default };
    let none = exceptions(&[], &[]);
    for (evidence, settings, expected) in [
        (by_list(Policy::Reject), default, ("reject", "")),
        (by_list(Policy::Reject), lists, ("quarantine", "mailing_list (members.list.test)")),
        (by_list(Policy::Quarantine), lists, ("quarantine", "")),
        (failing(Policy::Reject), lists, ("reject", "")),
        (
            failing(Policy::Reject),
            Settings { reject: OnReject::Quarantine, ..default },
            ("quarantine", "local_policy (quarantined instead of rejected)"),
        ),
        (
            failing(Policy::Quarantine),
            Settings { reject: OnReject::Quarantine, ..default },
            ("quarantine", ""),
        ),
        (
            failing(Policy::Reject),
            Settings { enforce: false, ..default },
            ("none", "local_policy (not enforced here)"),
        ),
        (failing(Policy::None), Settings { enforce: false, ..default }, ("none", "")),
    ] {
        let found = done_by(&evidence, &settings, &none);
        assert_eq!((found.0, found.1.as_str()), expected, "{settings:?}");
    }
    let report_only = Settings { enforce: false, ..default };
    let enforcement = decide(&failing(Policy::Reject), &report_only, &none);
    assert_eq!(
        enforcement.note(),
        "asked reject, done none instead of reject, local_policy (not enforced here)"
    );
}

#[test]
fn while_exceptions_cannot_be_looked_up_nothing_is_refused() {
    fn away<T>() -> Lookup<T> {
        Lookup::Unavailable("gone".into())
    }
    fn broken<T>() -> Lookup<T> {
        Lookup::Misconfigured("no such column".into())
    }
    let none = exceptions(&[], &[]);
    for (exceptions, misconfigured) in [
        (Exceptions { overrides: away(), forwarders: none.forwarders.clone() }, false),
        (Exceptions { overrides: none.overrides.clone(), forwarders: away() }, false),
        (Exceptions { overrides: none.overrides.clone(), forwarders: broken() }, true),
        (Exceptions { overrides: broken(), forwarders: broken() }, true),
    ] {
        let enforcement = decide(&failing(Policy::Reject), &Settings::default(), &exceptions);
        let Action::TryLater { reply, misconfigured: said, .. } = &enforcement.action else {
            panic!("{enforcement:?}")
        };
        assert_eq!((reply.code(), reply.enhanced(), *said), (451, "4.7.1", misconfigured));
        assert_eq!(enforcement.disposition(), None);
        // What would not be refused goes on as ever.
        for policy in [Policy::None, Policy::Quarantine] {
            assert_eq!(done(&failing(policy), &exceptions).0, policy.as_str());
        }
        let settings = Settings { on_unavailable: OnUnavailable::Quarantine, ..Settings::default() };
        assert_eq!(
            done_by(&failing(Policy::Reject), &settings, &exceptions),
            ("quarantine", "other (exceptions could not be looked up)".to_owned())
        );
        let settings = Settings { enforce: false, ..Settings::default() };
        assert_eq!(done_by(&failing(Policy::Reject), &settings, &exceptions).0, "none");
    }
    // A forwarder that is known is one, whatever the overrides would say.
    let known = Exceptions { overrides: away(), ..self::exceptions(&[], &["network 192.0.2.1"]) };
    assert_eq!(done(&failing(Policy::Reject), &known).0, "none");
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::None), Just(Policy::Quarantine), Just(Policy::Reject)]
}

proptest! {
    /// Whatever is set: what is done is never stricter than the strictest of what the domain and the operator say; where it is not
    /// what the domain asks for, a reason stands there; and nothing is refused while something cannot be looked up.
    #[test]
    fn nothing_is_stricter_than_somebody_asked_for_and_every_difference_has_a_reason(
        asked in any_policy(),
        own in proptest::option::of(any_policy()),
        (testing, enforce, softened, lists, sealed) in any::<(bool, bool, bool, bool, bool)>(),
        (forwarder, away) in any::<(bool, bool)>(),
    ) {
        let mut evidence = failing(asked);
        evidence.failure.as_mut().unwrap().testing = testing;
        evidence.list = lists.then(|| "members.list.test".to_owned());
        evidence.sealer = sealed.then(|| TrustedSealer { comment: "arc=pass".into() });
        let rows: Vec<_> = own.map(|own| ("bank.test", Some(own))).into_iter().collect();
        let mut exceptions = exceptions(&rows, if forwarder { &["network 192.0.2.1"] } else { &[] });
        if away {
            exceptions.forwarders = Lookup::Unavailable("gone".into());
        }
        let settings = Settings {
            enforce,
            reject: if softened { OnReject::Quarantine } else { OnReject::Reject },
            mailing_lists: MailingLists::Quarantine,
            ..Settings::default()
        };
        let enforcement = decide(&evidence, &settings, &exceptions);
        match enforcement.disposition() {
            Some(done) => {
                prop_assert!(done <= own.unwrap_or(asked));
                prop_assert!(done == asked || !enforcement.reasons.is_empty());
                prop_assert!(done != Policy::Reject || !away);
            }
            None => prop_assert!(away && enforce),
        }
    }
}
