//! `gatepost history`: what was decided about which message, one line for each message and recipient.

use clap::Args;
use gatepost::config::Seconds;
use gatepost::daemon::print_line;
use gatepost::mail::{Address, Domain};
use serde_json::Value;
use sqlx::postgres::PgListener;
use sqlx::{PgConnection, PgPool};

use super::connection::{explain, require_schema};

/// Which messages, and how they are shown.
#[derive(Args)]
pub(super) struct Which {
    /// To this address, or to this domain of yours
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    recipient: Option<Whose>,
    /// From this envelope sender or From field, or from this domain; <> for the null sender
    #[arg(long, value_name = "ADDRESS|DOMAIN")]
    sender: Option<Whose>,
    /// With this result
    #[arg(long, value_parser = ACTIONS)]
    action: Option<String>,
    /// With this text in subject, From, sender, Message-ID, queue id, client, symbols or evidence; case does not matter
    #[arg(long)]
    text: Option<String>,
    /// Not older than this, such as 2h or 7d
    #[arg(long, value_parser = span, value_name = "SPAN")]
    since: Option<Seconds>,
    /// At most so many lines of what there is already, the newest
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    limit: u32,
    /// Go on with what comes, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// One JSON object for each line, with everything that is known
    #[arg(long)]
    json: bool,
}

/// Shows the newest, oldest first, and goes on if asked to.
pub(super) async fn run(which: Which, connection: &mut PgConnection, pool: PgPool) -> anyhow::Result<()> {
    require_schema(connection).await?;
    // Before the first look, so that nothing falls between the two.
    let mut listener = match which.follow {
        true => {
            let mut listener = PgListener::connect_with(&pool).await.map_err(explain)?;
            listener.listen(CHANNEL).await.map_err(explain)?;
            Some(listener)
        }
        false => None,
    };
    let mut rows = find(&which, None, connection).await?;
    rows.reverse();
    which.show(&rows)?;
    let mut newest = time_of(rows.last());
    while let Some(listener) = &mut listener {
        // The connection is made anew where it is lost; what came meanwhile is found by its time.
        let news = match listener.try_recv().await.map_err(explain)? {
            Some(notice) => News::Ids(notice.payload().split(' ').map(str::to_owned).collect()),
            None => News::After(newest.clone()),
        };
        let mut rows = find(&which, Some(news), connection).await?;
        rows.reverse();
        which.show(&rows)?;
        newest = time_of(rows.last()).or(newest);
    }
    Ok(())
}

/// What has come since the last look.
enum News {
    Ids(Vec<String>),
    After(Option<String>),
}

/// The newest first.
async fn find(
    which: &Which,
    news: Option<News>,
    connection: &mut PgConnection,
) -> anyhow::Result<Vec<Value>> {
    let (ids, after) = match news {
        None => (None, None),
        Some(News::Ids(ids)) => (Some(ids), None),
        Some(News::After(after)) => (None, after),
    };
    // Of what comes nothing is left out.
    let limit = (ids.is_none() && after.is_none()).then(|| i64::from(which.limit));
    let whose = |whose: &Option<Whose>| whose.as_ref().map(|whose| whose.0.clone());
    let folded = |text: &Option<String>| text.as_ref().map(|text| text.trim().to_lowercase());
    let rows: Vec<(String,)> = sqlx::query_as(FIND)
        .bind(whose(&which.recipient))
        .bind(whose(&which.sender))
        .bind(folded(&which.action))
        .bind(folded(&which.text))
        .bind(which.since.map(|since| since.0.as_secs_f64()))
        .bind(ids)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await
        .map_err(explain)?;
    rows.into_iter().map(|(row,)| Ok(serde_json::from_str(&row)?)).collect()
}

/// Whom a message is from or for, as the query compares it: an address, a domain, or nothing for the null sender.
#[derive(Clone, Debug)]
struct Whose(String);

impl std::str::FromStr for Whose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |error| format!("{error}; expected an address, a domain, or <> for the null sender");
        match text {
            "<>" => Ok(Self(String::new())),
            text => match text.trim_start_matches('@') {
                domain if !domain.contains('@') => {
                    Domain::parse(domain).map(|domain| Self(domain.to_string())).map_err(bad)
                }
                _ => Address::parse(text).map(|address| Self(address.to_string())).map_err(bad),
            },
        }
    }
}

/// What the milter writes: the actions of mail from outside, then those of ours.
const ACTIONS: [&str; 11] = [
    "no action",
    "add header",
    "rewrite subject",
    "quarantine",
    "soft reject",
    "reject",
    "discard",
    "not judged",
    "sign",
    "unsigned",
    "tempfail",
];

/// An address is compared whole, a domain with what is after the last @.
const FIND: &str = "
    SELECT to_jsonb(history)::text FROM gatepost.history
    WHERE ($1::text IS NULL OR lower(recipient) = $1 OR lower(split_part(recipient, '@', -1)) = ltrim($1, '@'))
      AND ($2::text IS NULL OR lower(sender) = $2
           OR $2 <> '' AND (lower(split_part(sender, '@', -1)) = ltrim($2, '@')
                            OR strpos(lower(coalesce(header_from, '')) || '>', '@' || ltrim($2, '@') || '>') > 0
                            OR strpos($2, '@') > 1 AND strpos(lower(coalesce(header_from, '')), $2) > 0))
      AND ($3::text IS NULL OR action = $3)
      AND ($4::text IS NULL OR strpos(lower(concat_ws(' ', subject, header_from, sender, message_id, queue_id, client_name,
                                                      host(client), helo, note, symbols)), $4) > 0)
      AND ($5::float8 IS NULL OR at >= now() - make_interval(secs => $5))
      AND ($6::text[] IS NULL OR id = ANY ($6::uuid[]))
      AND ($7::text IS NULL OR at > $7::timestamptz)
    ORDER BY at DESC, id DESC, recipient DESC LIMIT $8";

/// Where the milter says which messages it has written down.
const CHANNEL: &str = "gatepost_history";

impl Which {
    fn show(&self, rows: &[Value]) -> anyhow::Result<()> {
        for row in rows {
            match self.json {
                true => print_line(&row.to_string()),
                false => print_line(&line(row)),
            }
        }
        Ok(())
    }
}

/// `2026-11-28 23:10:02  add header    7.20  4XqT1z  sender -> recipient  subject`.
fn line(row: &Value) -> String {
    let score = row["score"].as_f64().map_or_else(|| "-".to_owned(), |score| format!("{score:.2}"));
    let sender = text(row, "sender");
    format!(
        "{}  {:<11} {score:>6}  {:<12}  {} -> {}  {}",
        time(row),
        text(row, "action"),
        text(row, "queue_id"),
        if sender.is_empty() { "<>" } else { sender },
        text(row, "recipient"),
        text(row, "subject")
    )
    .trim_end()
    .to_owned()
}

/// A field that is a text; empty for none.
pub(super) fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

/// The time to seconds, in the time zone of the session.
pub(super) fn time(row: &Value) -> String {
    let at = text(row, "at");
    at.get(..19).unwrap_or(at).replace('T', " ")
}

fn time_of(row: Option<&Value>) -> Option<String> {
    row.map(|row| text(row, "at").to_owned())
}

/// A span of time on the command line.
pub(super) fn span(text: &str) -> Result<Seconds, String> {
    Seconds::try_from(text.to_owned())
}
