//! `gatepost alias`: the tutorial's table `aliases` where its one inside destination is enough, else those of schema `gatepost`.

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use gatepost::directory::{AliasPattern, PatternKind};
use gatepost::mail::{Address, Domain};
use sqlx::{Acquire, PgConnection};

use super::connection::{explain, has_schema, require_schema};
use super::{domain, terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Let mail for one address, or for many, go elsewhere; further destinations come to those that are there
    Add {
        #[command(flatten)]
        source: Source,
        /// Where it goes: mailboxes, aliases, outside addresses; for a pattern also $1@… for what the first group or star matched
        #[arg(required = true)]
        destinations: Vec<String>,
        /// Of several patterns that match the one with the lowest rank counts
        #[arg(long, default_value_t = 100)]
        rank: i32,
    },
    /// Remove an alias, or some of its destinations
    Remove {
        #[command(flatten)]
        source: Source,
        /// Only these destinations
        destinations: Vec<String>,
    },
    /// List aliases
    List {
        /// Only those of one domain
        domain: Option<Domain>,
        #[command(flatten)]
        show: terminal::Show,
    },
}

impl Verb {
    /// Adding one destination of one address.
    pub(super) fn one(source: &str, destination: &str) -> Self {
        let source = Source { source: source.to_owned(), wildcard: false, regex: false };
        Self::Add { source, destinations: vec![destination.to_owned()], rank: 100 }
    }
}

/// What receives, as typed.
#[derive(Args)]
pub(super) struct Source {
    /// The address that receives; @example.com is every address of the domain that is not there otherwise (a catch-all)
    source: String,
    /// The local part is a pattern: * is any text, ? one character
    #[arg(long, conflicts_with = "regex")]
    wildcard: bool,
    /// The local part is a regular expression, for the whole of it
    #[arg(long)]
    regex: bool,
}

/// What receives.
enum Kind {
    Exact(Address),
    CatchAll(Domain),
    Pattern(PatternKind, String, Domain),
}

impl Source {
    fn kind(&self) -> anyhow::Result<Kind> {
        let text = &self.source;
        let (local, name) = text
            .rsplit_once('@')
            .with_context(|| format!("{text} has no @; expected local@domain or @domain"))?;
        let domain = || Domain::parse(name).with_context(|| format!("bad domain \"{name}\""));
        match (self.wildcard, self.regex) {
            (false, false) if local.is_empty() => Ok(Kind::CatchAll(domain()?)),
            (false, false) => {
                Ok(Kind::Exact(Address::parse(text).with_context(|| format!("bad address \"{text}\""))?))
            }
            _ if local.is_empty() => bail!("{text}: no pattern before the @"),
            (true, _) => Ok(Kind::Pattern(PatternKind::Wildcard, local.to_owned(), domain()?)),
            (_, true) => Ok(Kind::Pattern(PatternKind::Regex, local.to_owned(), domain()?)),
        }
    }
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    match verb {
        Verb::Add { source, destinations, rank } => {
            let shown = source.source.clone();
            let mut transaction = connection.begin().await?;
            for destination in &destinations {
                match source.kind()? {
                    Kind::Exact(address) => add_exact(&mut transaction, &address, destination).await?,
                    Kind::CatchAll(domain) => {
                        domain::require_any(&mut transaction, &domain).await?;
                        let to = known(&mut transaction, destination).await?;
                        add_pattern(&mut transaction, &domain, "catch-all", "", rank, &to.written()).await?;
                    }
                    Kind::Pattern(kind, pattern, domain) => {
                        domain::require_any(&mut transaction, &domain).await?;
                        AliasPattern::new(kind, &pattern, destination).map_err(|reason| anyhow!(reason))?;
                        add_pattern(&mut transaction, &domain, kind.word(), &pattern, rank, destination)
                            .await?;
                    }
                }
            }
            transaction.commit().await.map_err(explain)?;
            println!("{shown} leads to {}", destinations.join(", "));
        }
        Verb::Remove { source, destinations } => {
            let mut transaction = connection.begin().await?;
            let removed = remove(&mut transaction, source.kind()?, &destinations).await?;
            if removed == 0 {
                bail!(
                    "there is no alias {}{}; `gatepost alias list`",
                    source.source,
                    if destinations.is_empty() { "" } else { " to that" }
                );
            }
            transaction.commit().await.map_err(explain)?;
            println!("alias {} removed", source.source);
        }
        Verb::List { domain, show } => list(connection, domain.as_ref(), show).await?,
    }
    Ok(())
}

/// One destination of one address: in the tutorial's table if it fits there and nothing else of this alias is elsewhere.
async fn add_exact(connection: &mut PgConnection, source: &Address, destination: &str) -> anyhow::Result<()> {
    let spelling = domain::stored(connection, source.domain()).await?;
    if spelling.is_none() {
        domain::require_any(connection, source.domain()).await?;
    } else if user::stored(connection, source).await?.is_some() {
        bail!(
            "{source} is a mailbox, which wins over an alias of the same name; remove it first, or choose another name"
        );
    }
    let to = Address::parse(destination).with_context(|| format!("bad destination \"{destination}\""))?;
    let ours = has_schema(connection).await?;
    let (inside, ahead): (bool, i64) = {
        let mailbox = user::stored(connection, &to).await?.is_some();
        let ahead = destinations_of(connection, source, ours).await?;
        if ahead.contains(&to) {
            bail!("{source} leads to {to} already");
        }
        (mailbox, i64::try_from(ahead.len()).unwrap_or(i64::MAX))
    };
    if let (Some(spelling), true, 0) = (&spelling, inside, ahead) {
        let (to_local, to_domain) = user::require(connection, &to).await?;
        sqlx::query("INSERT INTO public.aliases VALUES ($1, $2, $3, $4)")
            .bind(source.local().to_owned())
            .bind(spelling.clone())
            .bind(to_local)
            .bind(to_domain)
            .execute(connection)
            .await
            .map_err(explain)?;
        return Ok(());
    }
    if !ours {
        if ahead > 0 {
            bail!(
                "{source} leads somewhere already (one destination each without schema gatepost); `gatepost alias remove {source}` first, or `gatepost schema install`"
            );
        }
        // The sentence that says what is missing.
        user::require(connection, &to)
            .await
            .context("outside destinations need schema gatepost (`gatepost schema install`)")?;
    }
    let to = if to == *source && spelling.is_none() { to } else { known(connection, destination).await? };
    sqlx::query("INSERT INTO gatepost.aliases (local, domain, destination) VALUES ($1, $2, $3)")
        .bind(source.local().to_owned())
        .bind(source.domain().as_str().to_owned())
        .bind(to.written())
        .execute(connection)
        .await
        .map_err(explain)?;
    Ok(())
}

async fn add_pattern(
    connection: &mut PgConnection,
    domain: &Domain,
    kind: &'static str,
    pattern: &str,
    rank: i32,
    destination: &str,
) -> anyhow::Result<()> {
    require_schema(connection).await?;
    sqlx::query(
        "INSERT INTO gatepost.alias_patterns (domain, kind, pattern, rank, destination) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (domain, kind, pattern, destination) DO UPDATE SET rank = excluded.rank",
    )
    .bind(domain.as_str().to_owned())
    .bind(kind)
    .bind(pattern.to_owned())
    .bind(rank)
    .bind(destination.to_owned())
    .execute(connection)
    .await
    .map_err(explain)?;
    Ok(())
}

/// A destination that is there: outside, or a mailbox, an alias or something else that an inside address leads to.
async fn known(connection: &mut PgConnection, text: &str) -> anyhow::Result<Address> {
    let to = Address::parse(text).with_context(|| format!("bad destination \"{text}\""))?;
    if domain::stored(connection, to.domain()).await?.is_none() {
        return Ok(to);
    }
    let ours = has_schema(connection).await?;
    let there = user::stored(connection, &to).await?.is_some()
        || !destinations_of(connection, &to, ours).await?.is_empty()
        || to.strip_extension("+").is_some()
        || (ours && has_patterns(connection, to.domain()).await?);
    if there {
        Ok(to)
    } else {
        bail!(
            "there is no mailbox {to} and no alias of that name; `gatepost user list`, `gatepost alias list`"
        )
    }
}

async fn has_patterns(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<bool> {
    let (there,): (bool,) =
        sqlx::query_as("SELECT EXISTS (SELECT FROM gatepost.alias_patterns WHERE domain = $1)")
            .bind(domain.as_str().to_owned())
            .fetch_one(connection)
            .await
            .map_err(explain)?;
    Ok(there)
}

async fn destinations_of(
    connection: &mut PgConnection,
    source: &Address,
    ours: bool,
) -> anyhow::Result<Vec<Address>> {
    let mut rows: Vec<(String,)> = Vec::new();
    if let Some(spelling) = domain::stored(connection, source.domain()).await? {
        rows = sqlx::query_as(
            "SELECT destination_local || '@' || destination_domain FROM public.aliases WHERE source_domain = $1 AND lower(source_local) = $2",
        )
        .bind(spelling)
        .bind(source.local().to_owned())
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
    }
    if ours {
        let more: Vec<(String,)> =
            sqlx::query_as("SELECT destination FROM gatepost.aliases WHERE domain = $1 AND local = $2")
                .bind(source.domain().as_str().to_owned())
                .bind(source.local().to_owned())
                .fetch_all(connection)
                .await
                .map_err(explain)?;
        rows.extend(more);
    }
    Ok(rows.iter().filter_map(|(text,)| Address::parse(text).ok()).collect())
}

async fn remove(connection: &mut PgConnection, source: Kind, destinations: &[String]) -> anyhow::Result<u64> {
    let ours = has_schema(connection).await?;
    // Folded where they are addresses; as typed where they are a pattern's.
    let wanted: Vec<String> = destinations
        .iter()
        .map(|text| Address::parse(text).map_or_else(|_| text.clone(), |a| a.written()))
        .collect();
    let mut removed = 0;
    let (domain, kind, pattern) = match &source {
        Kind::Exact(address) => {
            if let Some(spelling) = domain::stored(connection, address.domain()).await? {
                // Both as they were typed; what is wanted is in one form.
                let rows: Vec<(String, String, String)> = sqlx::query_as(
                    "SELECT source_local::text, destination_local::text, destination_domain::text FROM public.aliases
                     WHERE source_domain = $1 AND lower(source_local) = $2",
                )
                .bind(&spelling)
                .bind(address.local().to_owned())
                .fetch_all(&mut *connection)
                .await
                .map_err(explain)?;
                let is_wanted = |local: &str, domain: &str| {
                    let to = Domain::parse(domain).and_then(|domain| Address::new(local, domain));
                    wanted.is_empty() || to.is_ok_and(|to| wanted.contains(&to.written()))
                };
                let sources: Vec<String> = rows
                    .into_iter()
                    .filter(|(_, local, domain)| is_wanted(local, domain))
                    .map(|(source, ..)| source)
                    .collect();
                let done = sqlx::query(
                    "DELETE FROM public.aliases WHERE source_domain = $1 AND source_local = ANY ($2)",
                )
                .bind(spelling)
                .bind(sources)
                .execute(&mut *connection)
                .await
                .map_err(explain)?;
                removed += done.rows_affected();
            }
            if ours {
                let done = sqlx::query(
                    "DELETE FROM gatepost.aliases WHERE domain = $1 AND local = $2 AND (cardinality($3::text[]) = 0 OR destination = ANY ($3))",
                )
                .bind(address.domain().as_str().to_owned())
                .bind(address.local().to_owned())
                .bind(wanted)
                .execute(connection)
                .await
                .map_err(explain)?;
                removed += done.rows_affected();
            }
            return Ok(removed);
        }
        Kind::CatchAll(domain) => (domain, "catch-all", ""),
        Kind::Pattern(kind, pattern, domain) => (domain, kind.word(), pattern.as_str()),
    };
    require_schema(connection).await?;
    let done = sqlx::query(
        "DELETE FROM gatepost.alias_patterns WHERE domain = $1 AND kind = $2 AND pattern = $3
         AND (cardinality($4::text[]) = 0 OR destination = ANY ($4))",
    )
    .bind(domain.as_str().to_owned())
    .bind(kind)
    .bind(pattern.to_owned())
    .bind(wanted)
    .execute(connection)
    .await
    .map_err(explain)?;
    Ok(done.rows_affected())
}

async fn list(
    connection: &mut PgConnection,
    domain: Option<&Domain>,
    show: terminal::Show,
) -> anyhow::Result<()> {
    type Row = (String, String, String, String);
    let mut rows: Vec<Row> = sqlx::query_as(
        "SELECT source_domain::text, source_local || '@' || source_domain, destination_local || '@' || destination_domain, 'alias'
         FROM public.aliases ORDER BY source_domain, source_local",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    if has_schema(connection).await? {
        let ours: Vec<Row> = sqlx::query_as(
            "SELECT domain, local || '@' || domain, destination, 'alias' FROM gatepost.aliases
             UNION ALL
             SELECT domain, pattern || '@' || domain, destination, kind || CASE kind WHEN 'catch-all' THEN '' ELSE ' ' || rank END
             FROM gatepost.alias_patterns ORDER BY 1, 4, 2, 3",
        )
        .fetch_all(connection)
        .await
        .map_err(explain)?;
        rows.extend(ours);
    }
    let wanted = |name: &str| domain.is_none_or(|domain| Domain::parse(name).as_ref() == Ok(domain));
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|(domain, ..)| wanted(domain))
        .map(|(_, source, destination, kind)| [source, destination, kind])
        .collect();
    show.table(["ALIAS", "LEADS TO", "KIND"], &rows);
    Ok(())
}
