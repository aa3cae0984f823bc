//! Observations counted: what a report tells of a day.
//!
//! For whoever collects them, the store that keeps them, and [`super::compose`].

use time::Date;

use super::{Observation, Published};

/// Messages alike, seen on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The day in UTC.
    pub day: Date,
    /// What each of them showed.
    pub observation: Observation,
    /// How many.
    pub messages: u64,
}

/// What was seen of a domain on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The day in UTC.
    pub day: Date,
    /// The record as it was seen last; its `rua` is not kept.
    pub published: Published,
    /// The most frequent kinds of messages first.
    pub tallies: Vec<Tally>,
    /// Messages that are in none of them.
    pub omitted: u64,
}
