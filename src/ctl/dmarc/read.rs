//! `gatepost dmarc read`: reports that others sent to us, summed by source and result. Asks no database and no DNS.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use gatepost::daemon::print_line;
use gatepost::dmarc::report::{Alignedness, Disposition, Report};
use gatepost::dmarc::{read, unpack};
use gatepost::telemetry::printable;
use serde::Serialize;
use time::OffsetDateTime;

use crate::ctl::terminal;

#[derive(Args)]
pub(in crate::ctl) struct Read {
    /// Reports: XML, gzip, zip, or mails with one; a directory stands for its files, `-` for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Everything that was read.
#[derive(Default, Serialize)]
struct Sums {
    reports: Vec<Told>,
    sources: Vec<Source>,
    messages: u64,
    passed: u64,
    errors: Vec<Bad>,
    #[serde(skip)]
    known: HashSet<(String, String, String)>,
    #[serde(skip)]
    sums: BTreeMap<Kind, u64>,
}

/// A report, in short.
#[derive(Serialize)]
struct Told {
    file: String,
    organization: String,
    id: String,
    domain: String,
    begin: i64,
    end: i64,
    records: usize,
    messages: u64,
    /// The same report had been read from another file; it is not counted.
    duplicate: bool,
}

/// Messages alike.
#[derive(Serialize)]
struct Source {
    domain: String,
    source: IpAddr,
    dmarc: &'static str,
    dkim: &'static str,
    spf: &'static str,
    disposition: &'static str,
    messages: u64,
}

#[derive(Serialize)]
struct Bad {
    file: String,
    error: String,
}

type Kind = (String, IpAddr, Alignedness, Alignedness, Disposition);

/// Reads them all; fails if one cannot be read, after summing the others.
pub(in crate::ctl) fn run(read: &Read) -> anyhow::Result<ExitCode> {
    let mut sums = Sums::default();
    for file in &read.files {
        for file in files(file)? {
            let name = file.display().to_string();
            match load(&file) {
                Ok(reports) => reports.iter().for_each(|report| sums.add(&name, report)),
                Err(error) => sums.errors.push(Bad { file: name, error: format!("{error:#}") }),
            }
        }
    }
    sums.finish();
    if read.json {
        print_line(&serde_json::to_string_pretty(&sums)?);
    } else {
        sums.print();
    }
    for bad in &sums.errors {
        eprintln!("gatepost: {}: {}", bad.file, bad.error);
    }
    Ok(if sums.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files of a directory, not of those in it.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = || format!("cannot read {}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(cannot)? {
        let entry = entry.with_context(cannot)?.path();
        if entry.is_file() {
            files.push(entry);
        }
    }
    files.sort();
    Ok(files)
}

fn load(path: &Path) -> anyhow::Result<Vec<Report>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(unpack::MAX_FILE + 1).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(unpack::MAX_FILE + 1).read_to_end(&mut bytes)?;
    }
    let mut reports = Vec::new();
    for unpacked in unpack::unpack(&bytes)? {
        let report = read::xml(&unpacked.xml);
        reports.push(match &unpacked.name {
            Some(name) => report.with_context(|| printable(name.as_bytes(), 200))?,
            None => report?,
        });
    }
    Ok(reports)
}

impl Sums {
    fn add(&mut self, file: &str, report: &Report) {
        let (metadata, domain) = (&report.metadata, report.policy.domain.to_ascii_lowercase());
        let messages = report.records.iter().fold(0_u64, |sum, record| sum.saturating_add(record.count));
        let duplicate =
            !self.known.insert((metadata.organization.clone(), metadata.id.clone(), domain.clone()));
        self.reports.push(Told {
            file: file.to_owned(),
            organization: metadata.organization.clone(),
            id: metadata.id.clone(),
            domain: domain.clone(),
            begin: metadata.begin,
            end: metadata.end,
            records: report.records.len(),
            messages,
            duplicate,
        });
        if duplicate {
            return;
        }
        self.messages = self.messages.saturating_add(messages);
        for record in &report.records {
            if record.passed() {
                self.passed = self.passed.saturating_add(record.count);
            }
            let kind = (domain.clone(), record.source, record.dkim, record.spf, record.disposition);
            let sum = self.sums.entry(kind).or_default();
            *sum = sum.saturating_add(record.count);
        }
    }

    /// Failures first, for they are what one reads reports for; then the most frequent.
    fn finish(&mut self) {
        let sums = std::mem::take(&mut self.sums);
        self.sources = sums
            .into_iter()
            .map(|((domain, source, dkim, spf, disposition), messages)| Source {
                domain,
                source,
                dmarc: if [dkim, spf].contains(&Alignedness::Pass) { "pass" } else { "fail" },
                dkim: dkim.as_str(),
                spf: spf.as_str(),
                disposition: disposition.as_str(),
                messages,
            })
            .collect();
        self.sources.sort_by_key(|source| (source.dmarc == "pass", std::cmp::Reverse(source.messages)));
    }

    fn print(&self) {
        let rows: Vec<_> = self
            .sources
            .iter()
            .map(|source| {
                [
                    printable(source.domain.as_bytes(), 253),
                    source.source.to_string(),
                    source.messages.to_string(),
                    source.dmarc.to_owned(),
                    source.dkim.to_owned(),
                    source.spf.to_owned(),
                    source.disposition.to_owned(),
                ]
            })
            .collect();
        terminal::table(["DOMAIN", "SOURCE", "MESSAGES", "DMARC", "DKIM", "SPF", "DISPOSITION"], &rows);
        let counted = || self.reports.iter().filter(|report| !report.duplicate);
        if let (Some(begin), Some(end)) =
            (counted().map(|report| report.begin).min(), counted().map(|report| report.end).max())
        {
            let organizations: HashSet<&str> = counted().map(|report| report.organization.as_str()).collect();
            let duplicates = match self.reports.len() - counted().count() {
                0 => String::new(),
                number => format!(" ({number} read twice, counted once)"),
            };
            let share = (self.passed.saturating_mul(100)).checked_div(self.messages).unwrap_or_default();
            print_line(&format!(
                "{} reports{duplicates} of {} organisations, {} to {}: {} messages, {} passed ({share} %)",
                counted().count(),
                organizations.len(),
                date(begin),
                date(end),
                self.messages,
                self.passed,
            ));
        }
    }
}

fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.date().to_string())
}
