//! `gatepost settings`: what the milter does with mail to everybody, a domain or a mailbox, instead of what its configuration says.

use anyhow::bail;
use clap::Subcommand;
use gatepost::mail::Address;
use gatepost::spam::{self, Chosen, NAMES, Scope, WEIGHT};
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::terminal;

/// Verbs of the noun.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Set something; `gatepost settings names` says what there is
    Set {
        /// Whose mail: * for everybody, a domain, or an address
        scope: Scope,
        /// What, such as reject or weight.GTUBE
        #[arg(value_parser = name)]
        name: String,
        /// Points, off, or a text
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Go back to what the wider scope says
    Unset {
        /// Whose mail: * for everybody, a domain, or an address
        scope: Scope,
        /// What; everything of that scope if not given
        #[arg(value_parser = name)]
        name: Option<String>,
    },
    /// List what is set
    List {
        /// Of one scope only
        scope: Option<Scope>,
        #[command(flatten)]
        show: terminal::Show,
    },
    /// Show what counts for a mailbox, and who says so
    Show {
        /// The mailbox
        mailbox: Address,
        #[command(flatten)]
        show: terminal::Show,
    },
    /// List what can be set
    Names(terminal::Show),
}

/// What can be set, for `names` and the manual page.
pub(super) fn table() -> Vec<[String; 3]> {
    let names = NAMES.iter().map(|name| [name.word, "", name.summary].map(str::to_owned));
    let points = "points of a symbol; `gatepost-milter list` shows all".to_owned();
    names.chain([[format!("{WEIGHT}SYMBOL"), String::new(), points]]).collect()
}

/// A name that there is.
fn name(text: &str) -> Result<String, String> {
    spam::known_setting(text).map(|()| text.to_owned())
}

/// Runs a verb.
pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    if let Verb::Names(show) = verb {
        let rows: Vec<[String; 2]> = table().into_iter().map(|[name, _, summary]| [name, summary]).collect();
        show.table(["NAME", "WHAT"], &rows);
        return Ok(());
    }
    require_schema(connection).await?;
    match verb {
        Verb::Set { scope, name, value } => {
            spam::parse_setting(&mut Chosen::default(), &name, value.trim()).map_err(anyhow::Error::msg)?;
            sqlx::query(
                "INSERT INTO gatepost.settings (scope, name, value) VALUES ($1, $2, $3)
                 ON CONFLICT (scope, name) DO UPDATE SET value = excluded.value",
            )
            .bind(scope.to_string())
            .bind(&name)
            .bind(value.trim())
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{scope}: {name} = {}", value.trim());
        }
        Verb::Unset { scope, name } => {
            let done =
                sqlx::query("DELETE FROM gatepost.settings WHERE scope = $1 AND ($2 IS NULL OR name = $2)")
                    .bind(scope.to_string())
                    .bind(&name)
                    .execute(connection)
                    .await
                    .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("nothing of that is set for {scope}; `gatepost settings list`");
            }
            println!("{scope}: {} unset", name.as_deref().unwrap_or("everything"));
        }
        Verb::List { scope, show } => {
            let scopes = scope.map(|scope| vec![scope.to_string()]);
            show.table(HEADING, &rows(connection, scopes).await?);
        }
        Verb::Show { mailbox, show } => {
            let (domain, address) = (mailbox.domain().to_string(), mailbox.to_string());
            let mut found = rows(connection, Some(vec!["*".to_owned(), domain, address])).await?;
            // The narrowest scope that says something about a name counts: the longest text of the three that are possible.
            let narrower = |row: &[String; 3], other: &[String; 3]| {
                row[1] == other[1] && scope_of(&other[0]) < scope_of(&row[0])
            };
            let all = found.clone();
            found.retain(|row| !all.iter().any(|other| narrower(row, other)));
            show.table(HEADING, &found);
        }
        Verb::Names(_) => {}
    }
    Ok(())
}

fn scope_of(text: &str) -> Scope {
    Scope::parse(text).unwrap_or(Scope::All)
}

async fn rows(
    connection: &mut PgConnection,
    scopes: Option<Vec<String>>,
) -> anyhow::Result<Vec<[String; 3]>> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT scope, name, value FROM gatepost.settings WHERE $1 IS NULL OR scope = ANY ($1) ORDER BY scope, name",
    )
    .bind(scopes)
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    Ok(rows.into_iter().map(|(scope, name, value)| [scope, name, value]).collect())
}

const HEADING: [&str; 3] = ["SCOPE", "NAME", "VALUE"];
