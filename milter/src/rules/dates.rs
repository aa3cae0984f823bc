//! Group `headers`, the date (RFC 5322, 3.3 and 3.6.1).

use super::{Check, Evidence, Group, Rule};
use crate::facts::Facts;
use crate::facts::headers::Date;

/// The group's table.
pub const RULES: &[Rule] = &[INVALID_DATE, DATE_IN_FUTURE, DATE_AHEAD, DATE_IN_PAST];

/// A Date that is none.
pub const INVALID_DATE: Rule = Rule {
    symbol: "INVALID_DATE",
    group: Group::Headers,
    weight: 2.7,
    summary: "the Date header is no date",
    why: "RFC 5322, 3.3: the form has been the same since 1982",
    check: Check::Facts(|facts| {
        (facts.headers.date == Date::Invalid).then(|| Evidence::new(facts.headers.value("date")))
    }),
};

/// A Date in the future.
pub const DATE_IN_FUTURE: Rule = Rule {
    symbol: "DATE_IN_FUTURE",
    group: Group::Headers,
    weight: 3.9,
    summary: "the Date header is more than a day ahead",
    why: "puts the message on top of the list; what is less is DATE_AHEAD, which wrong zones cause as well",
    check: Check::Facts(|facts| {
        age(facts).filter(|&age| age < -DAY).map(|age| Evidence::new(format_args!("{} hours", -age / 3600)))
    }),
};

/// A Date that has not come yet.
pub const DATE_AHEAD: Rule = Rule {
    symbol: "DATE_AHEAD",
    group: Group::Headers,
    weight: 2.4,
    summary: "the Date header is two hours to a day ahead",
    why: "who invents a date or a zone is hours off; clocks that were not set for the summer are one hour (Rspamd too counts from two on)",
    check: Check::Facts(|facts| {
        let ahead = age(facts).filter(|age| (-DAY..=-2 * HOUR).contains(age))?;
        Some(Evidence::new(format_args!("{} hours", -ahead / HOUR)))
    }),
};

/// A Date in the past.
pub const DATE_IN_PAST: Rule = Rule {
    symbol: "DATE_IN_PAST",
    group: Group::Headers,
    weight: 0.7,
    summary: "the Date header is more than four days old",
    why: "mail takes seconds, a queue gives up after four or five days (RFC 5321, 4.5.4.1)",
    check: Check::Facts(|facts| {
        age(facts).filter(|&age| age > 4 * DAY).map(|age| Evidence::new(format_args!("{} days", age / DAY)))
    }),
};

/// Seconds from Date to arrival; negative when Date is ahead.
fn age(facts: &Facts) -> Option<i64> {
    match (facts.headers.date, facts.arrival) {
        (Date::At(date), Some(arrival)) => Some(arrival - date),
        _ => None,
    }
}

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
