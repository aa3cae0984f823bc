//! What `gatepost check` says about the addresses of schema `gatepost`: aliases that lead nowhere or in a circle, and rows that nothing reaches.
//!
//! Asks the same engine as the daemons, so that what is good here is good there.

use gatepost::database::Database;
use gatepost::directory::{Directory, Extensions, Lookup, Recipient, Trace};
use gatepost::mail::{Address, Domain};
use sqlx::PgConnection;

use super::check::report::Report;
use super::connection::{Settings, explain, has_schema};

/// The domains whose postmaster is an alias of ours.
pub(super) async fn postmasters(connection: &mut PgConnection) -> anyhow::Result<Vec<Domain>> {
    if !has_schema(connection).await? {
        return Ok(Vec::new());
    }
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT domain FROM gatepost.aliases WHERE local = 'postmaster'
         UNION SELECT domain FROM gatepost.alias_patterns WHERE kind = 'catch-all'",
    )
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    Ok(rows.iter().filter_map(|(domain,)| Domain::parse(domain).ok()).collect())
}

/// One line per finding.
pub(super) async fn check(
    settings: &Settings,
    connection: &mut PgConnection,
    report: &mut Report,
) -> anyhow::Result<()> {
    if !has_schema(connection).await? {
        return Ok(());
    }
    let config = &settings.config.database;
    let directory = Directory::new(Database::new(config, "gatepost")?, config);
    let sources: Vec<(String, String)> =
        sqlx::query_as("SELECT DISTINCT local, domain FROM gatepost.aliases ORDER BY 2, 1 LIMIT 10000")
            .fetch_all(&mut *connection)
            .await
            .map_err(explain)?;
    let patterns: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT kind, pattern, domain, destination FROM gatepost.alias_patterns ORDER BY 3, 1, 2, 4",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let others: Vec<(String, String)> =
        sqlx::query_as("SELECT domain, target FROM gatepost.hosted_domains WHERE kind = 'alias' ORDER BY 1")
            .fetch_all(connection)
            .await
            .map_err(explain)?;
    report.ok(&format!("{} aliases and {} patterns in schema gatepost", sources.len(), patterns.len()));
    for (local, domain) in sources {
        match Domain::parse(&domain).and_then(|domain| Address::new(&local, domain)) {
            Ok(address) => alias(&directory, &address, report).await,
            Err(reason) => report
                .fail(&format!("alias {}@{domain} can never be reached: {reason}", local.escape_debug())),
        }
    }
    for (kind, pattern, domain, destination) in patterns {
        let shown = format!("{kind} {pattern}@{domain}");
        if !hosted(&directory, &domain).await {
            report.fail(&format!(
                "{shown} can never be reached: {domain} is not hosted; `gatepost domain add {domain}`"
            ));
        }
        if let Ok(to) = Address::parse(&destination)
            && !destination.contains('$')
            && hosted(&directory, to.domain().as_str()).await
            && let Lookup::None = route(&directory, &to).await.map(|_| ())
        {
            report.fail(&format!("{shown} leads to {to}, which is not there; mail for it is deferred"));
        }
    }
    for (domain, target) in others {
        if !hosted(&directory, &target).await {
            report.fail(&format!(
                "{domain} is another name of {target}, which is not hosted; `gatepost domain add {target}`"
            ));
        }
    }
    Ok(())
}

async fn alias(directory: &Directory, address: &Address, report: &mut Report) {
    if let Lookup::Found(_) = directory.mailbox(address).await {
        report.warn(&format!(
            "alias {address} is also a mailbox; the mailbox wins, the alias leads nowhere; remove one of them"
        ));
        return;
    }
    match route(directory, address).await {
        Lookup::Found(route) => {
            for lost in route.lost {
                report.warn(&format!("alias {address} leads to {lost}; that destination is left out"));
            }
        }
        Lookup::None => report.fail(&format!(
            "alias {address} can never be reached: its domain is not hosted; `gatepost domain add {}`",
            address.domain()
        )),
        Lookup::Misconfigured(why) => report.fail(&format!(
            "alias {why}; mail for it is deferred; `gatepost alias remove {address}`, or give it another destination"
        )),
        Lookup::Unavailable(why) => report.fail(&format!("alias {address}: {why}")),
    }
}

async fn route(directory: &Directory, address: &Address) -> Lookup<gatepost::directory::Route> {
    let extensions = Extensions { delimiters: directory.extension_delimiters(), propagate: true };
    match Recipient::parse(&address.written()) {
        Some(recipient) => directory.route(&recipient, extensions, &mut Trace::default()).await,
        None => Lookup::None,
    }
}

async fn hosted(directory: &Directory, domain: &str) -> bool {
    match Domain::parse(domain) {
        Ok(domain) => directory.hosts(&domain).await.is_found(),
        Err(_) => false,
    }
}
