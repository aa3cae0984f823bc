//! `gatepost import`: users, domains and aliases of another server. Everything is tried in one transaction, which is taken back unless
//! `--yes` is given: what the dry run says is what the database says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gatepost::daemon::print_line;
use gatepost::import::postfix::Table;
use gatepost::import::{self, Contents, LeftOut, Present, Rows, Source};
use gatepost::mail::{Address, Domain};
use sqlx::{Connection, PgConnection};

use super::connection::{explain, has_schema};
use super::progress::Progress;

#[derive(Subcommand)]
pub(super) enum From {
    /// Tables with a heading: domain; address,password_hash,display_name; alias,destination
    #[command(
        after_help = "Examples:\n  gatepost import csv domains.csv users.csv aliases.csv\n  gatepost import csv users.csv --add-domains --yes"
    )]
    Csv {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        how: How,
    },
    /// A dump of the ISPmail tables virtual_domains, virtual_users and virtual_aliases
    #[command(
        after_help = "Example:\n  mysqldump mailserver virtual_domains virtual_users virtual_aliases >ispmail.sql   # on the old server\n  gatepost import mysqldump ispmail.sql\n  gatepost import mysqldump ispmail.sql --yes"
    )]
    Mysqldump {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Files from which postmap makes Postfix's tables, and Dovecot's passwd-file
    #[command(
        after_help = "Example:\n  gatepost import postfix --domains vdomains --mailboxes vmailbox --aliases virtual --passwords /etc/dovecot/users"
    )]
    Postfix {
        /// The file of virtual_mailbox_domains
        #[arg(long, value_name = "FILE")]
        domains: Option<PathBuf>,
        /// The file of virtual_mailbox_maps
        #[arg(long, value_name = "FILE")]
        mailboxes: Option<PathBuf>,
        /// The file of virtual_alias_maps
        #[arg(long, value_name = "FILE")]
        aliases: Option<PathBuf>,
        /// Dovecot's passwd-file, for the hashes
        #[arg(long, value_name = "FILE")]
        passwords: Option<PathBuf>,
        #[command(flatten)]
        how: How,
    },
}

/// How things are taken over.
#[derive(Args, Clone, Copy)]
pub(super) struct How {
    /// Do it; without, everything is tried and taken back
    #[arg(long, alias = "apply")]
    yes: bool,
    /// Host the domains too that only addresses name
    #[arg(long)]
    add_domains: bool,
}

pub(super) async fn run(from: From, connection: &mut PgConnection) -> anyhow::Result<()> {
    let (contents, how) = read(from)?;
    let mut transaction = connection.begin().await.map_err(explain)?;
    // Nobody adds what is being added until this is over; reading goes on.
    sqlx::raw_sql("LOCK TABLE public.domains, public.users, public.aliases IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await
        .map_err(explain)?;
    let present = present(&mut transaction).await?;
    let rows = import::rows(contents, &present, how.add_domains);
    insert(&mut transaction, &rows).await?;
    if how.yes {
        transaction.commit().await.map_err(explain)?;
    } else {
        transaction.rollback().await.map_err(explain)?;
    }
    report(&rows, how.yes);
    Ok(())
}

fn read(from: From) -> anyhow::Result<(Contents, How)> {
    let mut all = Contents::default();
    let mut more = |contents: Contents| {
        all.entries.extend(contents.entries);
        all.left_out.extend(contents.left_out);
    };
    let how = match from {
        From::Csv { files, how } => {
            for file in files {
                more(import::csv::read(&file)?);
            }
            how
        }
        From::Mysqldump { file, how } => {
            let size = std::fs::metadata(&file).ok().map(|metadata| metadata.len() >> 20);
            let bar = Progress::new("reading", "MiB", size);
            more(import::mysqldump::read(&file, &mut |mebibytes| bar.advance(mebibytes))?);
            how
        }
        From::Postfix { domains, mailboxes, aliases, passwords, how } => {
            let files = [
                (Table::Domains, domains),
                (Table::Mailboxes, mailboxes),
                (Table::Passwords, passwords),
                (Table::Aliases, aliases),
            ];
            if files.iter().all(|(_, file)| file.is_none()) {
                bail!("which files? --domains, --mailboxes, --aliases, --passwords");
            }
            for (table, file) in files.iter().filter_map(|(table, file)| Some((*table, file.as_deref()?))) {
                more(plain(table, file)?);
            }
            how
        }
    };
    Ok((all, how))
}

/// A text file, not what postmap made of it.
fn plain(table: Table, file: &Path) -> anyhow::Result<Contents> {
    let made = file.extension().is_some_and(|extension| extension == "db" || extension == "lmdb");
    if made {
        bail!(
            "{} is what postmap made; give the text that it was made from, or `postmap -s hash:…` >file",
            file.display()
        );
    }
    Ok(import::postfix::read(file, table)?)
}

/// What is in the database now.
async fn present(connection: &mut PgConnection) -> anyhow::Result<Present> {
    let mut present = Present { has_schema: has_schema(connection).await?, ..Present::default() };
    let domains: Vec<(String,)> = sqlx::query_as("SELECT domain::text FROM public.domains")
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
    for (spelling,) in domains {
        if let Ok(domain) = Domain::parse(&spelling) {
            present.domains.insert(domain, spelling);
        }
    }
    let users: Vec<(String, String)> = sqlx::query_as("SELECT local::text, domain::text FROM public.users")
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
    for (local, domain) in users {
        if let Some(address) = folded(&local, &domain) {
            present.users.insert(address, (local, domain));
        }
    }
    let mut aliases: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT source_local::text, source_domain::text, destination_local || '@' || destination_domain FROM public.aliases",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    if present.has_schema {
        let others: Vec<(String,)> = sqlx::query_as("SELECT domain FROM gatepost.hosted_domains")
            .fetch_all(&mut *connection)
            .await
            .map_err(explain)?;
        present.others = others.iter().filter_map(|(name,)| Domain::parse(name).ok()).collect();
        let ours: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT local, domain, destination FROM gatepost.aliases
             UNION ALL SELECT '', domain, destination FROM gatepost.alias_patterns WHERE kind = 'catch-all'",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
        aliases.extend(ours);
    }
    let mut known: HashMap<Source, std::collections::HashSet<Address>> = HashMap::new();
    for (local, domain, destination) in aliases {
        let source = if local.is_empty() {
            Domain::parse(&domain).ok().map(Source::CatchAll)
        } else {
            folded(&local, &domain).map(Source::One)
        };
        if let (Some(source), Ok(destination)) = (source, Address::parse(&destination)) {
            known.entry(source).or_default().insert(destination);
        }
    }
    present.aliases = known;
    Ok(present)
}

fn folded(local: &str, domain: &str) -> Option<Address> {
    Address::new(local, Domain::parse(domain).ok()?).ok()
}

/// All rows, in batches.
async fn insert(connection: &mut PgConnection, rows: &Rows) -> anyhow::Result<()> {
    let total = rows.domains.len()
        + rows.users.len()
        + rows.aliases.len()
        + rows.further.len()
        + rows.catch_alls.len();
    let bar = Progress::new("importing", "rows", u64::try_from(total).ok());
    let step = |by: usize| bar.advance(u64::try_from(by).unwrap_or_default());
    for batch in rows.domains.chunks(BATCH) {
        sqlx::query("INSERT INTO public.domains (domain) SELECT * FROM unnest($1::text[])")
            .bind(batch)
            .execute(&mut *connection)
            .await
            .map_err(explain)
            .context("domains")?;
        step(batch.len());
    }
    for batch in rows.users.chunks(BATCH) {
        let locals: Vec<&str> = batch.iter().map(|user| user.local.as_str()).collect();
        let domains: Vec<&str> = batch.iter().map(|user| user.domain.as_str()).collect();
        let hashes: Vec<Option<&str>> =
            batch.iter().map(|user| user.hash.as_ref().map(|hash| hash.expose())).collect();
        let names: Vec<Option<&str>> = batch.iter().map(|user| user.display_name.as_deref()).collect();
        sqlx::query(
            "INSERT INTO public.users (local, domain, password_hash, display_name)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])",
        )
        .bind(locals)
        .bind(domains)
        .bind(hashes)
        .bind(names)
        .execute(&mut *connection)
        .await
        .map_err(explain)
        .context("users")?;
        step(batch.len());
    }
    for batch in rows.aliases.chunks(BATCH) {
        let column = |of: fn(&import::Alias) -> &str| batch.iter().map(of).collect::<Vec<&str>>();
        sqlx::query(
            "INSERT INTO public.aliases (source_local, source_domain, destination_local, destination_domain)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])",
        )
        .bind(column(|alias| &alias.source.0))
        .bind(column(|alias| &alias.source.1))
        .bind(column(|alias| &alias.destination.0))
        .bind(column(|alias| &alias.destination.1))
        .execute(&mut *connection)
        .await
        .map_err(explain)
        .context("aliases")?;
        step(batch.len());
    }
    for batch in rows.further.chunks(BATCH) {
        let column = |of: fn(&(String, String, String)) -> &str| batch.iter().map(of).collect::<Vec<&str>>();
        sqlx::query(
            "INSERT INTO gatepost.aliases (local, domain, destination) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])",
        )
        .bind(column(|row| &row.0))
        .bind(column(|row| &row.1))
        .bind(column(|row| &row.2))
        .execute(&mut *connection)
        .await
        .map_err(explain)
        .context("gatepost.aliases")?;
        step(batch.len());
    }
    for batch in rows.catch_alls.chunks(BATCH) {
        let column = |of: fn(&(String, String)) -> &str| batch.iter().map(of).collect::<Vec<&str>>();
        sqlx::query(
            "INSERT INTO gatepost.alias_patterns (domain, kind, pattern, destination)
             SELECT domain, 'catch-all', '', destination FROM unnest($1::text[], $2::text[]) AS given (domain, destination)",
        )
        .bind(column(|row| &row.0))
        .bind(column(|row| &row.1))
        .execute(&mut *connection)
        .await
        .map_err(explain)
        .context("gatepost.alias_patterns")?;
        step(batch.len());
    }
    Ok(())
}

fn report(rows: &Rows, done: bool) {
    let lines = |word: &str, list: &[LeftOut]| {
        for one in list {
            print_line(&format!("{word:<5} {}: {}", one.origin, one.why));
        }
    };
    lines("note", &rows.notes);
    lines("left", &rows.left_out);
    let aliases = rows.aliases.len() + rows.further.len() + rows.catch_alls.len();
    print_line(&format!(
        "{} domains, {} users, {aliases} destinations of aliases {}taken over; {} there already, {} left out, {} notes",
        rows.domains.len(),
        rows.users.len(),
        if done { "" } else { "would be " },
        rows.there,
        rows.left_out.len(),
        rows.notes.len()
    ));
    if !done {
        print_line("nothing was changed; --yes does it");
    }
}

/// Rows in a statement: few enough for its memory, enough that the way to the server counts for nothing.
const BATCH: usize = 5_000;
