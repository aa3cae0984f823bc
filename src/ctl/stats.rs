//! `gatepost stats`: the history counted, by day, by action, by symbol.

use clap::Args;
use gatepost::config::Seconds;
use gatepost::daemon::print_line;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::history::span;
use super::terminal;

/// What is counted.
#[derive(Args)]
pub(super) struct Which {
    /// By what
    #[arg(long, value_enum, default_value_t = By::Day)]
    by: By,
    /// Not older than this, such as 24h or 7d
    #[arg(long, value_parser = span, value_name = "SPAN", default_value = "30d")]
    since: Seconds,
    /// One JSON object for each line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Each day
    Day,
    /// Each action of each direction
    Action,
    /// Each symbol: in how much mail that passed, was marked, was refused
    Symbol,
}

/// Counts and prints; messages count once, however many recipients they have.
pub(super) async fn run(which: Which, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match which.by {
        By::Day => {
            let heading = [
                "DAY", "MESSAGES", "INBOUND", "PASSED", "MARKED", "REFUSED", "DEFERRED", "OUTGOING",
                "MEAN MS",
            ];
            show(&which, connection, BY_DAY, heading).await
        }
        By::Action => {
            let heading = ["DIRECTION", "ACTION", "MESSAGES", "RECIPIENTS", "MEAN SCORE"];
            show(&which, connection, BY_ACTION, heading).await
        }
        By::Symbol => {
            let heading = ["SYMBOL", "MESSAGES", "PASSED", "MARKED", "REFUSED", "MEAN POINTS"];
            show(&which, connection, BY_SYMBOL, heading).await
        }
    }
}

/// A column of the query is named as its heading, in lower case with underscores.
async fn show<const N: usize>(
    which: &Which,
    connection: &mut PgConnection,
    query: &'static str,
    heading: [&str; N],
) -> anyhow::Result<()> {
    let rows: Vec<(String,)> = sqlx::query_as(query)
        .bind(which.since.0.as_secs_f64())
        .fetch_all(connection)
        .await
        .map_err(explain)?;
    if which.json {
        rows.iter().for_each(|(row,)| print_line(row));
        return Ok(());
    }
    let mut table = Vec::with_capacity(rows.len());
    for (row,) in &rows {
        let row: serde_json::Value = serde_json::from_str(row)?;
        table.push(heading.map(|name| match &row[name.to_lowercase().replace(' ', "_")] {
            serde_json::Value::Null => "-".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }));
    }
    terminal::table(heading, &table);
    Ok(())
}

const BY_DAY: &str = "
    SELECT to_jsonb(row)::text FROM (
        SELECT to_char(at, 'YYYY-MM-DD') AS day, count(*) AS messages,
               count(*) FILTER (WHERE direction = 'inbound') AS inbound,
               count(*) FILTER (WHERE direction = 'inbound' AND action IN ('no action', 'not judged')) AS passed,
               count(*) FILTER (WHERE direction = 'inbound' AND action IN ('add header', 'rewrite subject')) AS marked,
               count(*) FILTER (WHERE direction = 'inbound' AND action = 'reject') AS refused,
               count(*) FILTER (WHERE action IN ('soft reject', 'tempfail')) AS deferred,
               count(*) FILTER (WHERE direction <> 'inbound') AS outgoing,
               round(avg(milliseconds), 1) AS mean_ms
        FROM gatepost.history_messages WHERE at >= now() - make_interval(secs => $1) GROUP BY 1 ORDER BY 1) AS row";

const BY_ACTION: &str = "
    SELECT to_jsonb(row)::text FROM (
        SELECT direction, action, count(DISTINCT id) AS messages, count(recipient) AS recipients,
               round(avg(score)::numeric, 2) AS mean_score
        FROM gatepost.history WHERE at >= now() - make_interval(secs => $1) GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2) AS row";

const BY_SYMBOL: &str = "
    SELECT to_jsonb(row)::text FROM (
        SELECT symbol ->> 'symbol' AS symbol, count(*) AS messages,
               count(*) FILTER (WHERE action = 'no action') AS passed,
               count(*) FILTER (WHERE action IN ('add header', 'rewrite subject')) AS marked,
               count(*) FILTER (WHERE action = 'reject') AS refused,
               round(avg((symbol ->> 'points')::numeric), 2) AS mean_points
        FROM gatepost.history_messages CROSS JOIN LATERAL jsonb_array_elements(symbols) AS symbol
        WHERE at >= now() - make_interval(secs => $1) GROUP BY 1 ORDER BY 2 DESC, 1) AS row";
