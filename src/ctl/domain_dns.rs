//! `gatepost domain dns`: all records of a hosted domain, as a zone file takes them; and with `--check` what DNS says instead.
//!
//! It prints and changes nothing. What each kind of record is and when it is right stands in `zone`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::digest::{SHA256, digest};
use clap::{Args, ValueEnum};
use gatepost::config;
use gatepost::daemon::print_line;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::mail::{Address, Domain};
use gatepost::mta_sts;
use gatepost::store::key_life::{self, Key};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sqlx::PgConnection;

use super::check::facts::postfix::Postfix;
use super::check::ourselves::Ourselves;
use super::check::report::{Report, Shape};
use super::connection::{explain, has_schema};
use super::zone::answers::{Answers, Extent};
use super::zone::{Line, PARTS, Plan};

#[derive(Args)]
pub(super) struct Dns {
    /// The domain, which must be hosted here
    pub(super) domain: Domain,
    /// A host that takes its mail, in order; may be given several times. The domain's MX in DNS if not given, else this host
    #[arg(long, value_name = "HOST")]
    mx: Vec<Domain>,
    /// What MTA-STS asks of others. Begin with testing, and enforce when reports show no trouble
    #[arg(long, value_enum, default_value_t = Mode::Testing)]
    mode: Mode,
    /// How long others may keep the MTA-STS policy, in days
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    max_age: u32,
    /// What DMARC asks others to do with forgeries. Begin with none, and go on when reports show no trouble
    #[arg(long, value_enum, default_value_t = Policy::None)]
    dmarc: Policy,
    /// Where others send their reports on DMARC and encryption; postmaster at the domain if not given
    #[arg(long, value_name = "ADDRESS")]
    reports: Option<Address>,
    /// Who gives out the certificates of the domain's hosts, as CAA names them
    #[arg(long, value_name = "NAME", default_value = "letsencrypt.org")]
    authority: Domain,
    /// The certificate that Postfix shows (smtpd_tls_cert_file), for the TLSA records. The zone must be signed with DNSSEC
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The web server that tells mail programs their settings, if there is one
    #[arg(long, value_name = "HOST")]
    autoconfig: Option<Domain>,
    /// POP3 is offered too
    #[arg(long)]
    pop3: bool,
    /// Print what DNS says of each record, and how it differs; status 1 if something fails
    #[arg(long)]
    check: bool,
    /// With --check: one JSON object for each line
    #[arg(long, requires = "check")]
    json: bool,
}

/// RFC 8461, 5.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Enforce,
    Testing,
    None,
}

impl From<Mode> for mta_sts::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Testing => Self::Testing,
            Mode::None => Self::None,
        }
    }
}

/// RFC 9989, 4.7.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    None,
    Quarantine,
    Reject,
}

impl Policy {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

pub(super) async fn run(
    asked: Dns,
    connection: &mut PgConnection,
    dns: &config::Dns,
) -> anyhow::Result<ExitCode> {
    let resolver = Resolver::new(dns)?;
    let postfix = Postfix::gather(None).ok();
    let plan = plan(&asked, connection, &resolver, postfix.as_ref()).await?;
    if asked.check {
        return compare(&asked, plan, &resolver, postfix.as_ref()).await;
    }
    for part in PARTS {
        print_line(&Line::Comment(part.about.to_owned()).to_string());
        for line in (part.lines)(&plan) {
            print_line(&line.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn plan(
    asked: &Dns,
    connection: &mut PgConnection,
    resolver: &Resolver,
    postfix: Option<&Postfix>,
) -> anyhow::Result<Plan> {
    let domain = &asked.domain;
    let hosts = match asked.mx.is_empty() {
        true => exchangers(domain, resolver, postfix).await?,
        false => (1..).zip(&asked.mx).map(|(rank, host)| (rank * 10, host.clone())).collect(),
    };
    let mut plan = Plan::new(domain.clone(), hosts).context("postmaster is no address there")?;
    plan.named = !asked.mx.is_empty();
    plan.keys = keys(connection, domain).await?;
    plan.mode = asked.mode.into();
    plan.max_age = u64::from(asked.max_age) * 24 * 3600;
    plan.policy = asked.dmarc.as_str();
    plan.authority = asked.authority.to_string();
    plan.public_key = asked.certificate.as_ref().map(public_key_digest).transpose()?;
    plan.autoconfig = asked.autoconfig.clone();
    plan.pop3 = asked.pop3;
    if let Some(reports) = &asked.reports {
        plan.reports = reports.clone();
    }
    Ok(plan)
}

/// One line for each record, `ok`, `warn` or `fail`.
async fn compare(
    asked: &Dns,
    mut plan: Plan,
    resolver: &Resolver,
    postfix: Option<&Postfix>,
) -> anyhow::Result<ExitCode> {
    let ourselves = Ourselves::find(resolver, postfix).await;
    plan.our_addresses = ourselves.outgoing().to_vec();
    plan.our_name = ourselves.name;
    let web = mta_sts::Fetcher::new(resolver.clone(), FETCH, &mta_sts::Elsewhere::default())?;
    let extent = Extent { web: Some(&web), everything: true };
    let answers = Answers::ask(resolver, &plan, extent).await;
    let mut report = Report::default();
    for part in PARTS {
        report.begin(part.name);
        (part.judge)(&plan, &answers, &mut report);
        report.print(Shape { json: asked.json, problems: false });
    }
    Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn exchangers(
    domain: &Domain,
    resolver: &Resolver,
    postfix: Option<&Postfix>,
) -> anyhow::Result<Vec<(u16, Domain)>> {
    let found: Vec<(u16, String)> = match resolver.mx(domain.as_str()).await {
        Lookup::Found(found) if found.iter().all(|(_, host)| !host.is_empty()) => found,
        Lookup::Found(_) | Lookup::None => {
            let name =
                postfix.and_then(|postfix| postfix.value("myhostname")).filter(|name| name.contains('.'));
            let Some(name) = name else {
                bail!(
                    "DNS has no MX for {domain}, and no Postfix of this host says its name; name the hosts with --mx"
                );
            };
            vec![(10, name.to_owned())]
        }
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            bail!("{why}; try again, or name the hosts with --mx")
        }
    };
    let hosts = found.into_iter().map(|(rank, host): (u16, String)| match Domain::parse(&host) {
        Ok(host) => Ok((rank, host)),
        Err(reason) => Err(anyhow!("the MX of {domain} names \"{}\": {reason}", host.escape_debug())),
    });
    hosts.collect()
}

/// The domain's keys; none without our schema.
pub(super) async fn keys(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<Vec<Key>> {
    if !has_schema(connection).await? {
        return Ok(Vec::new());
    }
    key_life::keys(connection, Some(domain)).await.map_err(explain)
}

/// SHA-256 of the certificate's public key, for `TLSA 3 1 1`: it stays when the certificate is renewed with the same key (RFC 7671, 5.1).
fn public_key_digest(file: &PathBuf) -> anyhow::Result<String> {
    let name = file.display();
    // The first one is the host's own; the chain follows.
    let certificate = CertificateDer::pem_file_iter(file)
        .map_err(|reason| anyhow!("{name}: {reason}"))?
        .next()
        .with_context(|| {
            format!("{name}: there is no certificate in PEM in it; expected what smtpd_tls_cert_file names")
        })?
        .map_err(|reason| anyhow!("{name}: {reason}"))?;
    let parsed = webpki::EndEntityCert::try_from(&certificate)
        .map_err(|reason| anyhow!("{name}: not a certificate: {reason}"))?;
    let digest = digest(&SHA256, parsed.subject_public_key_info().as_ref());
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How long a policy may take to be fetched: RFC 8461, 3.3, suggests a minute; whoever waits at a prompt gives up before.
pub(super) const FETCH: std::time::Duration = std::time::Duration::from_secs(10);
