//! `gatepost dmarc reports`: what is collected for aggregate reports, and what became of each.

use clap::Args;
use gatepost::mail::Domain;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use crate::ctl::connection::explain;
use crate::ctl::terminal;

#[derive(Args)]
pub(in crate::ctl) struct Reports {
    /// Only of one day (UTC), as 2026-11-24
    #[arg(long, value_parser = super::day)]
    day: Option<Date>,
    /// Only on one domain
    #[arg(long)]
    domain: Option<Domain>,
    #[command(flatten)]
    show: terminal::Show,
}

type Row = (Date, String, i64, i64, i64, i64, String, OffsetDateTime, OffsetDateTime, String);

pub(super) async fn run(reports: Reports, connection: &mut PgConnection) -> anyhow::Result<()> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT report.day, report.domain, coalesce(sum(messages), 0)::bigint + omitted, count(key),
                coalesce(sum(messages) FILTER (WHERE dkim_aligned OR spf_aligned), 0)::bigint,
                coalesce(sum(messages) FILTER (WHERE NOT (dkim_aligned OR spf_aligned)), 0)::bigint,
                state, due_at, changed_at, detail
         FROM gatepost.dmarc_reports AS report LEFT JOIN gatepost.dmarc_rows AS row USING (day, domain)
         WHERE ($1::date IS NULL OR report.day = $1) AND ($2::text IS NULL OR report.domain = $2)
         GROUP BY report.day, report.domain ORDER BY report.day, report.domain",
    )
    .bind(reports.day)
    .bind(reports.domain.map(|domain| domain.as_str().to_owned()))
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(day, domain, messages, kinds, pass, fail, state, due, changed, detail)| {
            let state = match state.as_str() {
                "collected" => format!("due {}", minute(due)),
                ended => format!("{ended} {}", minute(changed)),
            };
            let numbers = [messages, pass, fail, kinds].map(|number| number.to_string());
            let [messages, pass, fail, kinds] = numbers;
            [day.to_string(), domain, messages, pass, fail, kinds, state, detail]
        })
        .collect();
    reports.show.table(["DAY", "DOMAIN", "MESSAGES", "PASS", "FAIL", "ROWS", "STATE", "DETAIL"], &rows);
    Ok(())
}

/// In UTC, as the days are.
fn minute(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}Z", time.date(), time.hour(), time.minute())
}
