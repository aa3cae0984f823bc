//! `gatepost-milter ask message.eml`: judges one file with the rules that mail on the wire meets, and shows every reason.
//!
//! For the operator and the curious. It needs no daemon, no database and no configuration file. Where it is not told `--offline` it asks DNS,
//! and where a configuration is named, its clamd and its database: settings, lists, correspondents and exceptions from DMARC, for the
//! recipients of `--to`. It changes nothing and sends nothing but these questions; so nothing is greylisted, and the model, which lives in the
//! daemon, is not heard.
//!
//! Without `--ip`, what depends on the client's address (SPF, iprev, and a DMARC "fail") is not known and named as missing.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use gatepost::config;
use gatepost::daemon::{ConfigSource, Parts};
use gatepost::mail::Address;
use tokio::time::Instant;

use crate::antivirus::Antivirus;
use crate::authentication::{Authentication, Question, Verifier, results};
use crate::config::Milter;
use crate::enforcement::{self, Evidence, Exceptions};
use crate::facts::Facts;
use crate::gathering::Gathering;
use crate::judgement::{Each, Judgement};
use crate::lists::Lists;
use crate::message::{Direction, Envelope, Message};
use crate::pool::Pool;
use crate::recipients::Knowledge;
use crate::rules;
use crate::service::exceptions;
use crate::verdict::{Action, Hit};

/// The arguments of `ask`.
#[derive(Debug, clap::Args)]
pub struct Ask {
    /// The message as a file, or - for standard input
    #[arg(value_name = "MESSAGE")]
    message: PathBuf,
    /// The address that the message came from, for SPF and iprev
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// The name that the client gave in HELO
    #[arg(long, value_name = "NAME")]
    helo: Option<String>,
    /// The envelope sender; <> for the null sender
    #[arg(long, value_name = "SENDER", value_parser = parse_sender)]
    from: Option<Sender>,
    /// An envelope recipient, by whose settings and lists it is judged; may be given several times
    #[arg(long, visible_alias = "as", value_name = "RECIPIENT", value_parser = parse_address)]
    to: Vec<Address>,
    /// Ask no DNS and no database
    #[arg(long)]
    offline: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// `--from`: an address, or the null sender.
#[derive(Debug, Clone)]
struct Sender(Option<Address>);

/// Judges and prints; 0 whatever the verdict is, because a verdict is an answer.
pub async fn ask(source: ConfigSource, ask: Ask) -> anyhow::Result<ExitCode> {
    gatepost::daemon::quiet_log();
    let loaded = source.given().map(|_| source.load::<Milter>()).transpose()?;
    let (config, dns) = match &loaded {
        Some(config) => (config.service.clone(), config.dns.clone()),
        None => (Milter::default(), config::Dns::default()),
    };
    let parts = match &loaded {
        Some(config) if !ask.offline => Some(Parts::new(config, "gatepost-milter")?),
        _ => None,
    };
    let raw = read(&ask.message)?;
    let mut message = Message::from_eml(&raw);
    let envelope = envelope(&ask);
    let raw = message.to_rfc5322();
    message.body.truncate(config.limits.rules_body.0.try_into().unwrap_or(usize::MAX));
    let message = Arc::new(message);
    let known = async {
        match &parts {
            Some(Parts { directory, store, .. }) => {
                let end = Instant::now() + config.deadline.0;
                Knowledge::gather(directory, store, &envelope.recipients, &message, end).await
            }
            None => Knowledge::default(),
        }
    };
    let asked = async {
        match ask.offline {
            true => Ok(Facts::gather(&message, &envelope, &Authentication::not_asked())),
            false => gather(&config, &dns, raw, &message, &envelope).await,
        }
    };
    let (facts, knowledge) = tokio::join!(asked, known);
    let facts = facts?;
    if let Some(why) = &knowledge.doubt {
        eprintln!("gatepost-milter: settings and lists cannot be read: {why}");
    }
    let authentication = facts.authentication.clone();
    let id = config.authserv_id.clone().unwrap_or_else(|| "localhost".to_owned());
    let mut judgement = Judgement::new(&facts, &knowledge, &config.view());
    let evidence = Evidence::new(&authentication, &envelope, &message);
    let exceptions = match &parts {
        Some(parts) if evidence.failure.is_some() => {
            exceptions(&parts.store, Instant::now() + config.deadline.0).await
        }
        _ => Exceptions::none(),
    };
    let enforcement = enforcement::decide(&evidence, &config.dmarc, &exceptions);
    judgement.change(|verdict| enforcement::combine(verdict, &enforcement));
    let disposition = enforcement.disposition();
    let results = results::write_decided(&id, &authentication, &envelope, disposition);
    let text = if ask.json { json(&judgement, &results)? } else { render(&judgement, &results) };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written.context("standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that is asked about mail on the wire too.
async fn gather(
    config: &Milter,
    dns: &config::Dns,
    raw: Vec<u8>,
    message: &Arc<Message>,
    envelope: &Envelope,
) -> anyhow::Result<Facts> {
    let verifier = Verifier::new(dns, config.verification()).context("use --offline to judge without DNS")?;
    let lists = &config.lists;
    let gathering = Gathering {
        verifier: Arc::new(verifier),
        lists: lists
            .enabled
            .then(|| Ok::<_, config::ConfigError>(Lists::configured(lists, lists.key()?, Arc::default())))
            .transpose()?,
        antivirus: Antivirus::new(&config.antivirus),
        reads: true,
        deadline: config.deadline.0,
    };
    let question = Question {
        client: envelope.client_address,
        helo: envelope.helo.clone(),
        sender: Some(envelope.reverse_path.clone()).filter(|path| !path.is_empty()),
        raw,
        complete: true,
        host: "localhost".to_owned(),
    };
    gathering
        .gather(message, envelope, &question, &Pool::new(1), None)
        .await
        .facts
        .context("the message could not be read")
}

fn envelope(ask: &Ask) -> Envelope {
    Envelope {
        client_address: ask.ip,
        helo: ask.helo.clone(),
        reverse_path: ask
            .from
            .as_ref()
            .and_then(|from| from.0.as_ref())
            .map_or_else(String::new, ToString::to_string),
        sender: ask.from.clone().and_then(|sender| sender.0),
        recipients: ask.to.clone(),
        ..Envelope::new(Direction::Inbound)
    }
}

/// Reads at most [`MAX_MESSAGE`] bytes.
fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut raw = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_MESSAGE).read_to_end(&mut raw).context("standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
        file.take(MAX_MESSAGE).read_to_end(&mut raw).with_context(|| path.display().to_string())?;
    }
    Ok(raw)
}

/// More than any mail server lets through; a device named by mistake must not fill the memory.
const MAX_MESSAGE: u64 = 256 << 20;

/// The verdict as text: the decision, each symbol with its points, evidence and meaning, what was found about the sender, and what
/// could not be found out.
fn render(judgement: &Judgement, results: &str) -> String {
    use std::fmt::Write;
    let verdict = &judgement.verdict;
    let mut out = String::new();
    let action = match &verdict.action {
        Action::Reject(reply) => format!("reject: {reply}"),
        Action::Defer(reply) => format!("soft reject: {reply}"),
        Action::Discard => "discard: taken and dropped".to_owned(),
        Action::Quarantine => "quarantine: put on hold".to_owned(),
        Action::RewriteSubject(_) => "rewrite subject: and X-Spam: Yes".to_owned(),
        Action::AddHeader => "add header: X-Spam: Yes".to_owned(),
        Action::NoAction => "no action".to_owned(),
    };
    let _ = writeln!(out, "verdict  {action}");
    let _ = writeln!(
        out,
        "score    {:.2} (header from {}, reject from {})",
        verdict.score, verdict.thresholds.add_header, verdict.thresholds.reject
    );
    if verdict.symbols.is_empty() {
        let _ = writeln!(out, "symbols  none");
    } else {
        let _ = writeln!(out, "symbols");
    }
    let width = verdict.symbols.iter().map(|hit| hit.symbol.len()).max().unwrap_or_default();
    for hit in &verdict.symbols {
        let _ = writeln!(
            out,
            "{}",
            format!("  {:>6.2}  {:<width$}  {}", hit.weight, hit.symbol, hit.evidence).trim_end()
        );
        if let Some(rule) = rules::find(hit.symbol) {
            let _ = writeln!(out, "  {:>6}  {:<width$}  {}", "", "", rule.summary);
        }
    }
    // Where they differ: what all get is the mildest, and the Sieve script of each does the rest.
    for each in judgement.each.iter().filter(|_| judgement.each.len() > 1) {
        for mailbox in &each.mailboxes {
            let (action, score) = (each.verdict.action.as_str(), each.verdict.score);
            let _ = writeln!(out, "for      {mailbox}: {action}, {score:.2}");
        }
    }
    let _ = writeln!(out, "sender  {}", results.replace("\n\t", "\n         "));
    if !verdict.missing.is_empty() {
        let _ = writeln!(out, "missing  {} (not asked, or no answer)", verdict.missing.join(", "));
    }
    out
}

/// The verdict as JSON: the same things under their names.
///
/// ```json
/// {"action": "no action", "reply": null, "score": 1.5, "add_header": 6.0, "reject": 15.0, "missing": ["spf"],
///  "symbols": [{"symbol": "MISSING_DATE", "group": "headers", "points": 1.5, "evidence": "", "summary": "…"}],
///  "recipients": [{"mailbox": "bob@example.com", "action": "no action", "score": 1.5}],
///  "authentication_results": "localhost; spf=none …"}
/// ```
fn json(judgement: &Judgement, results: &str) -> anyhow::Result<String> {
    let verdict = &judgement.verdict;
    let reply = match &verdict.action {
        Action::Reject(reply) | Action::Defer(reply) => Some(reply.to_string()),
        Action::Discard
        | Action::Quarantine
        | Action::RewriteSubject(_)
        | Action::AddHeader
        | Action::NoAction => None,
    };
    let symbol = |hit: &Hit| {
        let rule = rules::find(hit.symbol);
        serde_json::json!({
            "symbol": hit.symbol,
            "group": rule.map(|rule| rule.group.as_str()),
            "points": hit.weight,
            "evidence": hit.evidence,
            "summary": rule.map(|rule| rule.summary),
        })
    };
    let each = |each: &Each| {
        let (action, score) = (each.verdict.action.as_str(), each.verdict.score);
        let of = |mailbox: &Address| serde_json::json!({"mailbox": mailbox.to_string(), "action": action, "score": score});
        each.mailboxes.iter().map(of).collect::<Vec<_>>()
    };
    let answer = serde_json::json!({
        "action": verdict.action.as_str(),
        "reply": reply,
        "score": verdict.score,
        "add_header": verdict.thresholds.add_header,
        "reject": verdict.thresholds.reject,
        "symbols": verdict.symbols.iter().map(symbol).collect::<Vec<_>>(),
        "recipients": judgement.each.iter().flat_map(each).collect::<Vec<_>>(),
        "authentication_results": results.split_whitespace().collect::<Vec<_>>().join(" "),
        "missing": verdict.missing,
    });
    Ok(serde_json::to_string_pretty(&answer)? + "\n")
}

fn parse_address(text: &str) -> Result<Address, String> {
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    Address::parse(bare).map_err(|error| error.to_string())
}

fn parse_sender(text: &str) -> Result<Sender, String> {
    match text {
        "" | "<>" => Ok(Sender(None)),
        other => parse_address(other).map(|address| Sender(Some(address))),
    }
}
