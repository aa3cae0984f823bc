//! The XML of a report, read: RFC 9990's, and RFC 7489's as large senders write it.
//!
//! What comes in is a stranger's. A document type or an entity of its own is refused, so that nothing is fetched and nothing grows
//! (XXE, billion laughs); depth, records, lists and texts have bounds; nothing is kept of what is not understood. Elements that no RFC
//! knows, and those of another namespace, are passed over with all that is in them. What is missing is an error with line and column
//! only where nothing can be said without it: source, count, From domain.
//!
//! Tolerated, because real senders do it: no namespace; elements in any order; several SPF results; words in capitals; no `version`;
//! `policy_evaluated` without `dkim` or `spf` (counts as fail, as other readers have it); bytes that are no UTF-8 in a text that says it is
//! (they become U+FFFD).

use std::borrow::Cow;
use std::net::IpAddr;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::report::{
    Alignedness, Alignment, AuthResult, Discovery, Disposition, DkimResult, Metadata, Override,
    PublishedPolicy, Reason, Record, Report, SpfResult,
};

/// Why a report cannot be read, and where. Prints as `line 3, column 14: what, expected what`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub what: String,
}

/// Reads a report.
///
/// # Errors
/// The first thing that makes it useless, with its place.
pub fn xml(bytes: &[u8]) -> Result<Report, ReadError> {
    let text = decode(bytes).map_err(|what| ReadError { line: 1, column: 1, what })?;
    let mut reader = Reader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut parser = Parser::default();
    loop {
        let before = reader.buffer_position();
        let step = match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => parser.take(&event).map_err(|what| (before, what)),
            Err(error) => Err((reader.error_position(), format!("no well-formed XML: {error}"))),
        };
        step.map_err(|(offset, what)| at(&text, offset, what))?;
    }
    parser.finish().map_err(|what| at(&text, text.len() as u64, what))
}

/// Deeper than any report (6) with an extension.
const MAX_DEPTH: usize = 32;
/// Beyond the largest reports of the largest senders.
const MAX_RECORDS: usize = 200_000;
/// Twice what RFC 9990 suggests for the signatures of one message; further ones are left out.
const MAX_LIST: usize = 200;
/// A text beyond this is cut: the longest domain has 253 characters, comments are sentences.
const MAX_TEXT: usize = 2000;

/// The text of the document, whatever its encoding; the error says what was expected.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        Cow::Owned(
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
        )
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Ok(String::from_utf8_lossy(rest)),
        [0xff, 0xfe, rest @ ..] => Ok(wide(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Ok(wide(rest, u16::from_be_bytes)),
        _ => match declared_encoding(bytes).as_deref() {
            None | Some("utf-8" | "utf8" | "us-ascii" | "ascii") => Ok(String::from_utf8_lossy(bytes)),
            // Windows-1252 differs in 27 characters, none of which is in a domain name.
            Some("iso-8859-1" | "latin1" | "windows-1252" | "iso-8859-15") => {
                Ok(Cow::Owned(bytes.iter().copied().map(char::from).collect()))
            }
            Some(other) => Err(format!("encoding \"{other}\" is not known, expected UTF-8")),
        },
    }
}

/// The encoding of the XML declaration, in lower case.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?.to_owned();
    let value = declaration.split("encoding").nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_ascii_lowercase)
}

fn at(text: &str, offset: u64, what: String) -> ReadError {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let before = &text.as_bytes()[..offset];
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    ReadError { line, column, what }
}

/// What has been read so far.
#[derive(Default)]
struct Parser {
    /// The names of the open elements, without prefix.
    path: Vec<String>,
    /// The prefix of the root element: that of the report's own namespace.
    prefix: Option<String>,
    /// How deep we are inside an element of another namespace.
    foreign: usize,
    text: String,
    rooted: bool,
    metadata: Metadata,
    policy: PublishedPolicy,
    records: Vec<Record>,
    row: Row,
    dkim: Option<DkimResult>,
    spf: Option<SpfResult>,
    reason: Reasoning,
}

/// A `reason` that is not complete yet.
#[derive(Default)]
struct Reasoning {
    kind: Option<Override>,
    comment: Option<String>,
}

/// A `record` that is not complete yet.
#[derive(Default)]
struct Row {
    source: Option<IpAddr>,
    count: Option<u64>,
    disposition: Option<Disposition>,
    dkim: Option<Alignedness>,
    spf: Option<Alignedness>,
    reasons: Vec<Reason>,
    header_from: Option<String>,
    envelope_from: Option<String>,
    envelope_to: Option<String>,
    dkim_results: Vec<DkimResult>,
    spf_results: Vec<SpfResult>,
}

impl Parser {
    fn take(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => {
                let name = start.name();
                let prefix = name.prefix().map(|prefix| prefix.as_ref().to_owned());
                self.open(name.local_name().as_ref(), prefix)
            }
            Event::End(_) => self.close(),
            Event::Text(text) => {
                self.keep(text);
                Ok(())
            }
            Event::CData(text) => {
                self.keep(text);
                Ok(())
            }
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    Ok(None) => predefined(reference).ok_or_else(|| {
                        format!(
                            "entity \"&{};\" is refused, expected none but XML's own five",
                            shown(reference)
                        )
                    })?,
                    Err(error) => return Err(format!("no well-formed XML: {error}")),
                };
                self.keep(character.encode_utf8(&mut [0; 4]));
                Ok(())
            }
            Event::DocType(_) => Err("a document type is refused, reports have none".to_owned()),
            _ => Ok(()),
        }
    }

    fn open(&mut self, name: &str, prefix: Option<String>) -> Result<(), String> {
        if self.path.len() + self.foreign >= MAX_DEPTH {
            return Err(format!("elements more than {MAX_DEPTH} deep"));
        }
        if self.path.is_empty() {
            if self.rooted {
                return Err(format!("element <{}> after the end of the report", shown(name)));
            }
            if name != "feedback" {
                let name = shown(name);
                return Err(format!(
                    "the root element is <{name}>, expected <feedback> of a DMARC aggregate report"
                ));
            }
            (self.rooted, self.prefix) = (true, prefix);
        } else if self.foreign > 0 || prefix != self.prefix {
            self.foreign += 1;
            return Ok(());
        }
        self.path.push(name.to_owned());
        self.text.clear();
        let names: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match names.as_slice() {
            ["feedback", "record"] => {
                if self.records.len() >= MAX_RECORDS {
                    return Err(format!("more than {MAX_RECORDS} records"));
                }
                self.row = Row::default();
            }
            ["feedback", "record", "row", "policy_evaluated", "reason"] => self.reason = Reasoning::default(),
            ["feedback", "record", "auth_results", "dkim"] => {
                let (domain, selector) = (String::new(), String::new());
                self.dkim = Some(DkimResult { domain, selector, result: None, human_result: None });
            }
            ["feedback", "record", "auth_results", "spf"] => {
                self.spf = Some(SpfResult { domain: String::new(), scope: None, result: None });
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        if self.foreign > 0 {
            self.foreign -= 1;
            return Ok(());
        }
        let text = std::mem::take(&mut self.text).trim().to_owned();
        let path = std::mem::take(&mut self.path);
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let closed = match names.as_slice() {
            ["feedback", "report_metadata", rest @ ..] => self.metadata(rest, text),
            ["feedback", "policy_published", name] => {
                self.policy(name, text);
                Ok(())
            }
            ["feedback", "record"] => self.record(),
            ["feedback", "record", rest @ ..] => self.in_record(rest, text),
            _ => Ok(()),
        };
        self.path = path;
        self.path.pop();
        closed
    }

    fn metadata(&mut self, path: &[&str], text: String) -> Result<(), String> {
        let metadata = &mut self.metadata;
        match path {
            ["org_name"] => metadata.organization = text,
            ["email"] => metadata.email = text,
            ["extra_contact_info"] => metadata.extra_contact = some(text),
            ["report_id"] => metadata.id = text,
            ["date_range", "begin"] => metadata.begin = seconds("begin", &text)?,
            ["date_range", "end"] => metadata.end = seconds("end", &text)?,
            ["error"] if metadata.errors.len() < MAX_LIST && !text.is_empty() => metadata.errors.push(text),
            ["generator"] => metadata.generator = some(text),
            _ => {}
        }
        Ok(())
    }

    fn policy(&mut self, name: &str, text: String) {
        let policy = &mut self.policy;
        match name {
            "domain" => policy.domain = text,
            "p" => policy.p = Disposition::parse(&text),
            "sp" => policy.sp = Disposition::parse(&text),
            "np" => policy.np = Disposition::parse(&text),
            "adkim" => policy.adkim = Alignment::parse(&text),
            "aspf" => policy.aspf = Alignment::parse(&text),
            "discovery_method" => policy.discovery = Discovery::parse(&text),
            "fo" => policy.fo = some(text),
            "testing" => policy.testing = Some(text.eq_ignore_ascii_case("y")),
            _ => {}
        }
    }

    fn in_record(&mut self, path: &[&str], text: String) -> Result<(), String> {
        let row = &mut self.row;
        match path {
            ["row", "source_ip"] => row.source = Some(address(&text)?),
            ["row", "count"] => row.count = Some(count(&text)?),
            ["row", "policy_evaluated", "disposition"] => row.disposition = Disposition::parse(&text),
            ["row", "policy_evaluated", "dkim"] => row.dkim = Alignedness::parse(&text),
            ["row", "policy_evaluated", "spf"] => row.spf = Alignedness::parse(&text),
            ["row", "policy_evaluated", "reason", "type"] => self.reason.kind = Override::parse(&text),
            ["row", "policy_evaluated", "reason", "comment"] => self.reason.comment = some(text),
            ["row", "policy_evaluated", "reason"] => {
                let Reasoning { kind, comment } = std::mem::take(&mut self.reason);
                // An empty <reason/> says nothing; a kind that nobody knows is another one.
                if row.reasons.len() < MAX_LIST && (kind.is_some() || comment.is_some()) {
                    row.reasons.push(Reason { kind: kind.unwrap_or(Override::Other), comment });
                }
            }
            ["identifiers", "header_from"] => row.header_from = some(text),
            ["identifiers", "envelope_from"] => row.envelope_from = Some(text),
            ["identifiers", "envelope_to"] => row.envelope_to = some(text),
            ["auth_results", "dkim"] => {
                let done = self.dkim.take().filter(|_| row.dkim_results.len() < MAX_LIST);
                row.dkim_results.extend(done.filter(|dkim| !dkim.domain.is_empty() || dkim.result.is_some()));
            }
            ["auth_results", "spf"] => {
                let done = self.spf.take().filter(|_| row.spf_results.len() < MAX_LIST);
                row.spf_results.extend(done.filter(|spf| !spf.domain.is_empty() || spf.result.is_some()));
            }
            ["auth_results", "dkim", name] => {
                if let Some(dkim) = &mut self.dkim {
                    match *name {
                        "domain" => dkim.domain = text,
                        "selector" => dkim.selector = text,
                        "result" => dkim.result = AuthResult::parse(&text),
                        "human_result" => dkim.human_result = some(text),
                        _ => {}
                    }
                }
            }
            ["auth_results", "spf", name] => {
                if let Some(spf) = &mut self.spf {
                    match *name {
                        "domain" => spf.domain = text,
                        "scope" => spf.scope = some(text),
                        "result" => spf.result = AuthResult::parse(&text),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn record(&mut self) -> Result<(), String> {
        let row = std::mem::take(&mut self.row);
        let missing = |what: &str| format!("a record without <{what}>");
        self.records.push(Record {
            source: row.source.ok_or_else(|| missing("source_ip"))?,
            count: row.count.ok_or_else(|| missing("count"))?,
            disposition: row.disposition.unwrap_or(Disposition::None),
            dkim: row.dkim.unwrap_or(Alignedness::Fail),
            spf: row.spf.unwrap_or(Alignedness::Fail),
            reasons: row.reasons,
            header_from: row.header_from.ok_or_else(|| missing("header_from"))?,
            envelope_from: row.envelope_from,
            envelope_to: row.envelope_to,
            dkim_results: row.dkim_results,
            spf_results: row.spf_results,
        });
        Ok(())
    }

    fn finish(self) -> Result<Report, String> {
        if let Some(open) = self.path.last() {
            return Err(format!("the report ends inside <{}>; it was cut off", shown(open)));
        }
        if !self.rooted {
            return Err("no XML element, expected <feedback> of a DMARC aggregate report".to_owned());
        }
        if self.policy.domain.is_empty() {
            return Err("no <domain> in <policy_published>".to_owned());
        }
        if self.records.is_empty() {
            return Err("no <record>".to_owned());
        }
        Ok(Report { metadata: self.metadata, policy: self.policy, records: self.records })
    }

    /// Adds to the text of the open element, as far as it is kept.
    fn keep(&mut self, text: &str) {
        if self.foreign == 0 {
            let room = MAX_TEXT.saturating_sub(self.text.len());
            let end = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
            self.text.push_str(&text[..end.unwrap_or_default()]);
        }
    }
}

/// The five entities of XML 1.0, 4.6.
fn predefined(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn seconds(name: &str, text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("bad <{name}> \"{}\", expected seconds since 1970", shown(text)))
}

fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>()
        .map(|address| address.to_canonical())
        .map_err(|_| format!("bad <source_ip> \"{}\", expected an IP address", shown(text)))
}

fn count(text: &str) -> Result<u64, String> {
    // PostgreSQL and others that sum have 63 bits.
    text.parse::<u64>()
        .ok()
        .filter(|count| i64::try_from(*count).is_ok())
        .ok_or_else(|| format!("bad <count> \"{}\", expected a number of messages", shown(text)))
}

fn shown(text: &str) -> String {
    crate::telemetry::printable(text.as_bytes(), 60)
}
