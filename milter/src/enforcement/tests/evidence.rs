//! What is taken from the answers of DNS, and what is told to reports.

use super::*;

/// What was found out about a message of `bank.test` that fails, sent by `list.test`.
fn found() -> Authentication {
    let dmarc = DmarcOutcome::new(DmarcResult::Fail, DmarcPolicy::Reject, "bank.test");
    Authentication {
        spf: Some(SpfOutcome::new(SpfResult::Pass, "bounce.List.test", SpfScope::MailFrom)),
        dkim: vec![dkim(DkimResult::Fail, "bank.test"), dkim(DkimResult::Pass, "List.test")],
        dmarc: Some(dmarc),
        iprev: Some(IprevOutcome { result: IprevResult::Pass, name: Some("MX.list.test".into()) }),
        ..Authentication::default()
    }
}

fn dkim(result: DkimResult, domain: &str) -> DkimOutcome {
    DkimOutcome {
        result,
        domain: domain.into(),
        selector: "s".into(),
        algorithm: "rsa-sha256",
        identity: String::new(),
        signature: String::new(),
        reason: String::new(),
    }
}

fn evidence(found: &Authentication, header: &str) -> Evidence {
    let mut envelope = Envelope::new(Direction::Inbound);
    envelope.client_address = "192.0.2.1".parse().ok();
    envelope.recipients = vec!["a@example.com".parse().unwrap(), "b@example.com".parse().unwrap()];
    Evidence::new(found, &envelope, &Message::from_eml(header.as_bytes()))
}

#[test]
fn evidence_is_only_what_was_proved() {
    let all = evidence(&found(), "");
    assert_eq!(all.name, Proof::Proved("mx.list.test".into()));
    assert_eq!(all.spf, Proof::Proved("bounce.list.test".into()));
    assert_eq!(all.dkim, ["list.test"]);
    assert_eq!(all.recipients, [domain("example.com")]);
    let failure = all.failure.unwrap();
    assert_eq!(failure.checks, "SPF pass for bounce.List.test, DKIM pass for List.test");
    assert_eq!((failure.tag, failure.asked, failure.testing), ("p", Policy::Reject, false));

    for result in [DmarcResult::Pass, DmarcResult::None, DmarcResult::TempError, DmarcResult::PermError] {
        let mut other = found();
        other.dmarc.as_mut().unwrap().result = result;
        assert_eq!(evidence(&other, ""), Evidence::default(), "{result:?}");
    }
    let missing = Authentication { dmarc: None, missing: vec!["dkim", "dmarc"], ..found() };
    assert_eq!(evidence(&missing, ""), Evidence::default());

    let mut unsure = found();
    unsure.spf.as_mut().unwrap().result = SpfResult::TempError;
    unsure.iprev.as_mut().unwrap().result = IprevResult::TempError;
    unsure.dkim[1].result = DkimResult::TempError;
    let unsure = evidence(&unsure, "");
    assert_eq!(unsure.spf, Proof::Unknown(Some("bounce.list.test".into())));
    assert_eq!((unsure.name, unsure.dkim.len()), (Proof::Unknown(None), 0));
    assert_eq!(unsure.dkim_unknown, ["list.test"]);
}

#[test]
fn what_is_asked_is_what_was_published() {
    for (after, lowered, asked) in [
        (DmarcPolicy::Quarantine, true, Policy::Reject),
        (DmarcPolicy::None, true, Policy::Quarantine),
        (DmarcPolicy::Reject, false, Policy::Reject),
        (DmarcPolicy::None, false, Policy::None),
    ] {
        let mut found = found();
        let dmarc = found.dmarc.as_mut().unwrap();
        (dmarc.policy, dmarc.lowered) = (after, lowered);
        let failure = evidence(&found, "").failure.unwrap();
        assert_eq!((failure.asked, failure.testing), (asked, lowered));
    }
}

#[test]
fn a_list_is_one_when_its_domain_is_proved() {
    for (header, expected) in [
        ("List-Id: Members <members.list.test>\n", Some("members.list.test")),
        ("List-Id: <list.test>\n", Some("list.test")),
        ("List-Id: \"a <b>\"\n\t<members.LIST.test>\n", Some("members.list.test")),
        ("List-Id: <members.other.test>\n", None),
        ("List-Id: <test>\n", None),
        ("List-Id: members.list.test\n", None),
        ("List-Id:\n", None),
        ("List-Post: <mailto:members@list.test>\n", None),
        ("", None),
    ] {
        assert_eq!(evidence(&found(), header).list.as_deref(), expected, "{header:?}");
    }
    let mut unproved = found();
    unproved.spf.as_mut().unwrap().result = SpfResult::SoftFail;
    unproved.dkim[1].result = DkimResult::Fail;
    assert_eq!(evidence(&unproved, "List-Id: <members.list.test>\n").list, None);
}

#[test]
fn only_trusted_sealers_vouch_and_only_for_the_author() {
    let recorded = |method: &str, result: &str, domain: &str| ArcRecorded {
        method: method.into(),
        result: result.into(),
        domain: Some(domain.into()),
    };
    let hop = |instance, trusted, recorded| ArcHop {
        instance,
        sealer: format!("s{instance}.test"),
        trusted,
        authserv_id: String::new(),
        recorded: vec![recorded],
    };
    let sealed = |result, hops: Vec<ArcHop>| {
        let trusted = hops.first().is_some_and(|hop| hop.trusted);
        let arc = ArcOutcome { hops, trusted, ..ArcOutcome::without_hops(result, "") };
        let evidence = evidence(&Authentication { arc: Some(arc), ..found() }, "");
        (evidence.sealer.map(|sealer| sealer.comment), evidence.chain_unknown.is_some())
    };
    let pass = || recorded("dmarc", "pass", "bank.test");
    let told = |comment: &str| (Some(comment.to_owned()), false);
    assert_eq!(sealed(ArcResult::Pass, vec![hop(1, true, pass())]), told("arc=pass as[1].d=s1.test"));
    assert_eq!(
        sealed(
            ArcResult::Pass,
            vec![hop(2, true, recorded("dmarc", "fail", "bank.test")), hop(1, true, pass())]
        ),
        told("arc=pass as[2].d=s2.test as[1].d=s1.test")
    );
    assert!(sealed(ArcResult::Pass, vec![hop(1, true, recorded("dkim", "pass", "bank.test"))]).0.is_some());
    assert!(sealed(ArcResult::Pass, vec![hop(1, true, recorded("spf", "pass", "bank.test"))]).0.is_some());
    for hops in [
        vec![hop(1, false, pass())],
        // A stranger sealed last: he may have changed everything.
        vec![hop(2, false, pass()), hop(1, true, pass())],
        // A stranger sealed first: nobody vouches for what he says he saw.
        vec![hop(2, true, recorded("dmarc", "fail", "bank.test")), hop(1, false, pass())],
        vec![hop(1, true, recorded("dmarc", "pass", "other.test"))],
        vec![hop(1, true, recorded("dmarc", "fail", "bank.test"))],
        vec![hop(1, true, recorded("arc", "pass", "bank.test"))],
        vec![],
    ] {
        assert_eq!(sealed(ArcResult::Pass, hops.clone()), (None, false), "{hops:?}");
    }
    assert_eq!(sealed(ArcResult::Fail, vec![hop(1, true, pass())]), (None, false));
    assert_eq!(sealed(ArcResult::TempError, vec![]), (None, true));
}

#[test]
fn an_observation_has_what_a_report_needs() {
    use crate::authentication::{AlignmentMode, DmarcRecord, Psd};
    let mut found = found();
    let dmarc = found.dmarc.as_mut().unwrap();
    dmarc.record = Some(DmarcRecord {
        domain: "bank.test".into(),
        p: Some(DmarcPolicy::Reject),
        sp: None,
        np: None,
        adkim: AlignmentMode::Relaxed,
        aspf: AlignmentMode::Strict,
        t: false,
        psd: Psd::Unknown,
        fo: "1".into(),
        rua: vec!["dmarc@bank.test".into()],
        ruf: Vec::new(),
    });
    dmarc.spf = Aligned::TempError;
    found.dkim.push(dkim(DkimResult::Fail, ""));
    found.dkim.push(dkim(DkimResult::Pass, "sub.bank.test"));
    let mut envelope = Envelope::new(Direction::Inbound);
    envelope.client_address = "192.0.2.1".parse().ok();
    envelope.sender = "x@bounce.list.test".parse().ok();
    let enforcement =
        decide(&failing(Policy::Reject), &Settings::default(), &exceptions(&[], &["spf list.test"]));
    let seen = observation(&found, &envelope, &enforcement).unwrap();
    assert_eq!(
        (seen.header_from.as_str(), seen.envelope_from.as_deref()),
        ("bank.test", Some("bounce.list.test"))
    );
    assert_eq!(
        (seen.published.p, seen.published.aspf, seen.published.fo.as_str()),
        (Policy::Reject, 's', "1")
    );
    assert_eq!((seen.disposition, seen.reasons.len()), (Policy::None, 1));
    assert_eq!((seen.dkim_aligned, seen.spf_aligned), (false, false));
    let signatures: Vec<_> =
        seen.dkim.iter().map(|one| (one.domain.as_str(), one.result.as_str(), one.aligned)).collect();
    assert_eq!(
        signatures,
        [("sub.bank.test", "pass", true), ("list.test", "pass", false), ("bank.test", "fail", true)]
    );
    assert_eq!(seen.spf.unwrap().result, "pass");

    // Not decided, not asked for, not over the network: not counted.
    let away = Exceptions { overrides: Lookup::Unavailable(String::new()), forwarders: Lookup::None };
    let open = decide(&failing(Policy::Reject), &Settings::default(), &away);
    assert_eq!(observation(&found, &envelope, &open), None);
    let local = Envelope::new(Direction::Inbound);
    assert_eq!(observation(&found, &local, &enforcement), None);
    found.dmarc.as_mut().unwrap().record.as_mut().unwrap().rua.clear();
    assert_eq!(observation(&found, &envelope, &enforcement), None);
}
