//! Aggregate reports in the database: `gatepost.dmarc_rows` counts what all hosts saw, `gatepost.dmarc_reports` keeps each report's life.
//!
//! A report goes out once, however many hosts share the database and whatever ends when:
//!
//! ```text
//! collected ──claim──▶ claimed ──begin──▶ sending ──end──▶ sent
//!     ▲                   │ a host that ends here            │ a host that ends here has perhaps sent it:
//!     └────release────────┘ has sent nothing: taken over     └▶ unknown, never sent again by itself
//! ```
//!
//! `begin` is asked when the whole mail has been handed to Postfix but for its last line, so that the doubt lasts for one round trip.
//! It succeeds only for the host whose claim still counts: one that slept and was taken over sends nothing.
//!
//! Counts are exact: a batch whose answer was lost is written again under the same id and counts once.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::digest;
use sqlx::FromRow;
use time::Date;

use super::Store;
use crate::database::Trouble;
use crate::directory::Lookup;
use crate::dmarc::{DkimSeen, Observation, Policy, Published, Reason, ReasonKind, Seen, SpfSeen, Tally};

/// What became of a batch of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Messages whose report had been sent already; they are in no report.
    pub late: u64,
    /// Messages of kinds that found no row any more; their report says how many.
    pub omitted: u64,
}

/// A report that one host has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The day in UTC.
    pub day: Date,
    /// The policy domain.
    pub domain: String,
    /// How often it was tried, this time included.
    pub tries: u32,
    /// Names this claim.
    pub id: String,
}

/// The end of a report's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Postfix has taken it.
    Sent,
    /// Nobody asks for it, or nobody who may.
    Unwanted,
    /// It cannot be sent, for good.
    Failed,
    /// It may have been sent.
    Unknown,
}

impl End {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Unwanted => "unwanted",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The most rows of one report: twice the default of `milter.reports.records`. A stranger can make as many kinds of messages as he likes.
pub const MAX_ROWS: i64 = 20_000;

/// How long a host may take from claim to `begin`, and from there to the end, before others act.
pub const PATIENCE: Duration = Duration::from_secs(15 * 60);

impl Store {
    /// Counts messages; `batch` names these counts, so that they count once however often they are written. `due` tells how long after
    /// the end of its day the report on a domain is due.
    pub async fn collect(
        &self,
        batch: &str,
        tallies: &[Tally],
        due: impl Fn(&str, Date) -> Duration + Send + Sync,
    ) -> Lookup<Collected> {
        let database = &self.0.database;
        let question = async {
            let mut connection = database.pool().acquire().await?;
            let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
            let begun = sqlx::query(include_str!("queries/begin_batch.sql"))
                .bind(batch.to_owned())
                .execute(&mut *transaction)
                .await?;
            if begun.rows_affected() == 0 {
                return Ok(Collected::default());
            }
            let open = open_reports(&mut transaction, tallies, due).await?;
            let (kept, late): (Vec<&Tally>, Vec<&Tally>) = tallies
                .iter()
                .partition(|tally| open.contains(&(tally.day, tally.observation.published.domain.clone())));
            let omitted = add_rows(&mut transaction, &kept).await?;
            transaction.commit().await?;
            Ok(Collected {
                late: late.iter().map(|tally| tally.messages).sum(),
                omitted: omitted.unsigned_abs(),
            })
        };
        Lookup::from(database.ask(question).await.map(Some))
    }

    /// Claims a report that is due, for `host`.
    pub async fn claim_report(&self, id: &str, host: &str) -> Lookup<Claim> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (Date, String, i32)>(include_str!("queries/claim_report.sql"))
            .bind(id.to_owned())
            .bind(host.to_owned())
            .bind(PATIENCE.as_secs_f64());
        let found = database.ask(query.fetch_optional(database.pool())).await;
        Lookup::from(found).map(|(day, domain, tries)| Claim {
            day,
            domain,
            tries: tries.unsigned_abs(),
            id: id.to_owned(),
        })
    }

    /// From here on the report may be on its way. [`Lookup::None`]: the claim does not count any more; it must not be sent.
    pub async fn begin_sending(&self, claim: &Claim) -> Lookup<()> {
        let query = sqlx::query(include_str!("queries/begin_sending.sql"))
            .bind(claim.day)
            .bind(claim.domain.clone())
            .bind(claim.id.clone());
        self.changed(query).await
    }

    /// Notes what became of a report. [`Lookup::None`]: the claim does not count any more.
    pub async fn end_report(&self, claim: &Claim, end: End, detail: &str) -> Lookup<()> {
        let query = sqlx::query(include_str!("queries/end_report.sql"))
            .bind(claim.day)
            .bind(claim.domain.clone())
            .bind(claim.id.clone())
            .bind(end.as_str())
            .bind(detail.to_owned());
        self.changed(query).await
    }

    /// Gives a report back that was certainly not sent; it is due again after `pause`. Returns whether it will be tried again: not when
    /// second day after its own is over, so that each is tried for a day at least, whatever the hour it was due.
    pub async fn release_report(&self, claim: &Claim, pause: Duration, detail: &str) -> Lookup<bool> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String,)>(include_str!("queries/release_report.sql"))
            .bind(claim.day)
            .bind(claim.domain.clone())
            .bind(claim.id.clone())
            .bind(pause.as_secs_f64())
            .bind(detail.to_owned());
        let state = database.ask(query.fetch_optional(database.pool())).await;
        Lookup::from(state).map(|(state,)| state == "collected")
    }

    /// Gives up reports whose host ended while it was sending; returns day, domain and host of each.
    pub async fn doubt_reports(&self) -> Lookup<Vec<(Date, String, String)>> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (Date, String, String)>(include_str!("queries/doubt_reports.sql"))
            .bind(PATIENCE.as_secs_f64());
        Lookup::from(database.ask(query.fetch_all(database.pool())).await.map(Some))
    }

    /// What was seen of a domain on a day, at most `rows` kinds of messages.
    pub async fn seen(&self, day: Date, domain: &str, rows: u32) -> Lookup<Seen> {
        let database = &self.0.database;
        let question = async {
            let record = sqlx::query_as::<_, RecordRow>(include_str!("queries/report.sql"))
                .bind(day)
                .bind(domain.to_owned())
                .fetch_optional(database.pool())
                .await?;
            let Some(record) = record else { return Ok(None) };
            let rows = sqlx::query_as::<_, SeenRow>(include_str!("queries/report_rows.sql"))
                .bind(day)
                .bind(domain.to_owned())
                .bind(i64::from(rows))
                .fetch_all(database.pool())
                .await?;
            Ok(Some((record, rows)))
        };
        let found = database.ask(question).await.and_then(|found| {
            let Some((record, rows)) = found else { return Ok(None) };
            understood(day, domain, record, rows).map(Some).map_err(|what| {
                Trouble::Misconfigured(format!("gatepost.dmarc_rows of {domain} on {day}: {what}"))
            })
        });
        Lookup::from(found)
    }

    /// Forgets reports older than `keep`; returns how many.
    pub async fn forget_reports(&self, keep: Duration) -> Lookup<u64> {
        let database = &self.0.database;
        let query =
            sqlx::query_as::<_, (i64,)>(include_str!("queries/forget_reports.sql")).bind(keep.as_secs_f64());
        let gone = database.ask(query.fetch_one(database.pool())).await.map(Some);
        Lookup::from(gone).map(|(gone,)| gone.unsigned_abs())
    }

    async fn changed(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> Lookup<()> {
        let database = &self.0.database;
        let done = database.ask(query.execute(database.pool())).await;
        Lookup::from(done.map(|done| (done.rows_affected() > 0).then_some(())))
    }
}

type Transaction<'a> = sqlx::Transaction<'a, sqlx::Postgres>;

async fn open_reports(
    transaction: &mut Transaction<'_>,
    tallies: &[Tally],
    due: impl Fn(&str, Date) -> Duration + Send,
) -> Result<std::collections::HashSet<(Date, String)>, sqlx::Error> {
    // The last one seen of each counts.
    let records: BTreeMap<(Date, &str), &Published> = tallies
        .iter()
        .map(|tally| (tally.day, &tally.observation.published))
        .map(|(day, published)| ((day, published.domain.as_str()), published))
        .collect();
    let column = |value: fn(&Published) -> String| records.values().map(|one| value(one)).collect::<Vec<_>>();
    let optional = |value: fn(&Published) -> Option<Policy>| {
        records.values().map(|one| value(one).map(|policy| policy.as_str().to_owned())).collect::<Vec<_>>()
    };
    let open = sqlx::query_as::<_, (Date, String)>(include_str!("queries/open_reports.sql"))
        .bind(records.keys().map(|(day, _)| *day).collect::<Vec<_>>())
        .bind(records.keys().map(|(_, domain)| (*domain).to_owned()).collect::<Vec<_>>())
        .bind(column(|record| record.p.as_str().to_owned()))
        .bind(optional(|record| record.sp))
        .bind(optional(|record| record.np))
        .bind(column(|record| record.adkim.to_string()))
        .bind(column(|record| record.aspf.to_string()))
        .bind(column(|record| storable(&record.fo)))
        .bind(records.values().map(|record| record.testing).collect::<Vec<_>>())
        .bind(records.keys().map(|(day, domain)| due(domain, *day).as_secs_f64()).collect::<Vec<_>>())
        .fetch_all(&mut **transaction)
        .await?;
    Ok(open.into_iter().collect())
}

async fn add_rows(transaction: &mut Transaction<'_>, tallies: &[&Tally]) -> Result<i64, sqlx::Error> {
    // Equal ones become one: a statement may not touch a row twice.
    let mut rows: BTreeMap<(Date, &str, Vec<u8>), (Row<'_>, i64)> = BTreeMap::new();
    for tally in tallies {
        let row = Row::of(&tally.observation);
        let place = (tally.day, tally.observation.published.domain.as_str(), row.key());
        let messages = i64::try_from(tally.messages).unwrap_or(i64::MAX);
        let counted = rows.entry(place).or_insert((row, 0));
        counted.1 = counted.1.saturating_add(messages);
    }
    if rows.is_empty() {
        return Ok(0);
    }
    let column = |value: fn(&Row<'_>) -> String| rows.values().map(|(row, _)| value(row)).collect::<Vec<_>>();
    let optional =
        |value: fn(&Row<'_>) -> Option<String>| rows.values().map(|(row, _)| value(row)).collect::<Vec<_>>();
    let (omitted,) = sqlx::query_as::<_, (i64,)>(include_str!("queries/add_rows.sql"))
        .bind(rows.keys().map(|(day, ..)| *day).collect::<Vec<_>>())
        .bind(rows.keys().map(|(_, domain, _)| (*domain).to_owned()).collect::<Vec<_>>())
        .bind(rows.keys().map(|(.., key)| key.clone()).collect::<Vec<_>>())
        .bind(rows.values().map(|(_, messages)| *messages).collect::<Vec<_>>())
        .bind(column(|row| row.0.source.to_canonical().to_string()))
        .bind(column(|row| storable(&row.0.header_from)))
        .bind(optional(|row| row.0.envelope_from.as_deref().map(storable)))
        .bind(column(|row| row.0.disposition.as_str().to_owned()))
        .bind(rows.values().map(|(row, _)| row.0.dkim_aligned).collect::<Vec<_>>())
        .bind(rows.values().map(|(row, _)| row.0.spf_aligned).collect::<Vec<_>>())
        .bind(column(|row| row.1.clone()))
        .bind(column(|row| row.2.clone()))
        .bind(optional(|row| row.0.spf.as_ref().map(|spf| storable(&spf.domain))))
        .bind(optional(|row| row.0.spf.as_ref().map(|spf| storable(&spf.result))))
        .bind(MAX_ROWS)
        .fetch_one(&mut **transaction)
        .await?;
    Ok(omitted)
}

/// An observation with its lists as JSON: reasons, signatures.
struct Row<'a>(&'a Observation, String, String);

impl<'a> Row<'a> {
    fn of(seen: &'a Observation) -> Self {
        let reasons: Vec<[String; 2]> = seen
            .reasons
            .iter()
            .map(|reason| [reason.kind.as_str().to_owned(), storable(&reason.comment)])
            .collect();
        let dkim: Vec<[String; 3]> = seen
            .dkim
            .iter()
            .map(|dkim| [&dkim.domain, &dkim.selector, &dkim.result].map(|text| storable(text)))
            .collect();
        // Lists of strings always have a JSON form.
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_else(|_| "[]".to_owned());
        Self(seen, json(serde_json::to_string(&reasons)), json(serde_json::to_string(&dkim)))
    }

    /// What makes it a row of its own.
    fn key(&self) -> Vec<u8> {
        let Self(seen, reasons, dkim) = self;
        let mut digest = digest::Context::new(&digest::SHA256);
        let spf = seen.spf.as_ref();
        for text in [
            &*seen.source.to_canonical().to_string(),
            &seen.header_from,
            // The null sender, unlike an empty name.
            seen.envelope_from.as_deref().unwrap_or("<>"),
            seen.disposition.as_str(),
            if seen.dkim_aligned { "1" } else { "0" },
            if seen.spf_aligned { "1" } else { "0" },
            reasons,
            dkim,
            spf.map_or("", |spf| &spf.domain),
            spf.map_or("", |spf| &spf.result),
        ] {
            digest.update(&(text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
        digest.finish().as_ref().to_vec()
    }
}

/// What PostgreSQL can hold and a report can tell: no NUL and no other control character; the length of the longest domain.
fn storable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MAX_TEXT).collect()
}

/// RFC 1035, 2.3.4.
const MAX_TEXT: usize = 255;

#[derive(FromRow)]
struct RecordRow {
    p: String,
    sp: Option<String>,
    np: Option<String>,
    adkim: String,
    aspf: String,
    fo: String,
    testing: bool,
    omitted: i64,
}

type SeenRow = (
    i64,
    String,
    String,
    Option<String>,
    String,
    bool,
    bool,
    String,
    String,
    Option<String>,
    Option<String>,
    i64,
);

fn understood(day: Date, domain: &str, record: RecordRow, rows: Vec<SeenRow>) -> Result<Seen, String> {
    let optional = |policy: Option<String>| policy.map(|policy| policy.parse()).transpose();
    let mode = |text: &str| text.chars().next().unwrap_or('r');
    let published = Published {
        domain: domain.to_owned(),
        p: record.p.parse()?,
        sp: optional(record.sp)?,
        np: optional(record.np)?,
        adkim: mode(&record.adkim),
        aspf: mode(&record.aspf),
        fo: record.fo,
        testing: record.testing,
        rua: Vec::new(),
    };
    let total = rows.first().map_or(0, |row| row.11);
    let mut told = 0_i64;
    let mut tallies = Vec::with_capacity(rows.len());
    for (
        messages,
        source,
        header_from,
        envelope_from,
        disposition,
        dkim_aligned,
        spf_aligned,
        reasons,
        dkim,
        spf_domain,
        spf_result,
        _,
    ) in rows
    {
        told = told.saturating_add(messages);
        let json = |error: serde_json::Error| error.to_string();
        let reasons: Vec<[String; 2]> = serde_json::from_str(&reasons).map_err(json)?;
        let dkim: Vec<[String; 3]> = serde_json::from_str(&dkim).map_err(json)?;
        let reason = |[kind, comment]: [String; 2]| Reason { kind: kind_of(&kind), comment };
        let signature =
            |[domain, selector, result]: [String; 3]| DkimSeen { domain, selector, result, aligned: false };
        let observation = Observation {
            source: source.parse().map_err(|_| format!("bad address {source}"))?,
            header_from,
            envelope_from,
            published: published.clone(),
            disposition: disposition.parse()?,
            reasons: reasons.into_iter().map(reason).collect(),
            dkim_aligned,
            spf_aligned,
            dkim: dkim.into_iter().map(signature).collect(),
            spf: spf_domain.zip(spf_result).map(|(domain, result)| SpfSeen { domain, helo: false, result }),
        };
        tallies.push(Tally { day, observation, messages: messages.unsigned_abs() });
    }
    let omitted = record.omitted.saturating_add(total.saturating_sub(told)).unsigned_abs();
    Ok(Seen { day, published, tallies, omitted })
}

fn kind_of(word: &str) -> ReasonKind {
    let all = [
        ReasonKind::LocalPolicy,
        ReasonKind::MailingList,
        ReasonKind::PolicyTestMode,
        ReasonKind::TrustedForwarder,
    ];
    all.into_iter().find(|kind| kind.as_str() == word).unwrap_or(ReasonKind::Other)
}
