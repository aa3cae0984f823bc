//! A whole message: read, asked about, judged, reported.
#![no_main]

use gatepost_milter::authentication::Authentication;
use gatepost_milter::facts::Facts;
use gatepost_milter::lists::plan::{Limits, plan};
use gatepost_milter::lists::presets::LISTS;
use gatepost_milter::message::{Direction, Envelope, Message};
use gatepost_milter::report::{self, ReportContext};
use gatepost_milter::score::{Thresholds, Weights, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let message = Message::from_eml(data);
    let facts = Facts::gather(&message, &Envelope::new(Direction::Inbound), &Authentication::not_asked());
    assert!(plan(&facts, LISTS, Limits { names: 20 }).len() < 200);
    let verdict = judge(&facts, &Weights::default(), &Thresholds::default());
    for (_, value) in report::headers(&verdict, &ReportContext::default()) {
        assert!(value.split('\n').all(|line| line.len() < 998 && !line.contains('\r')));
    }
});
