//! A report as XML, valid against the schema of RFC 9990, appendix A (`tests/data/rfc9990.xsd`).
//!
//! UTF-8; text is escaped; what XML 1.0 cannot hold at all (control characters) is left out. Elements stand in the order of the
//! RFC's tables. What the RFC does not know is not written: reasons of RFC 7489 become `other`, of several SPF results the first is
//! told. Writes no recipient, neither local part nor domain: `envelope_to` is optional and tells more than a sender needs.

use std::fmt::Write;

use super::report::{Override, Record, Report};

/// Writes the report.
pub fn xml(report: &Report) -> String {
    let mut out = Xml(String::with_capacity(2048 + report.records.len() * 700));
    out.0.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out.0, "<feedback xmlns=\"{NAMESPACE}\">");
    out.text("version", "1.0");
    out.within("report_metadata", |out| metadata(out, report));
    out.within("policy_published", |out| policy(out, report));
    for record in &report.records {
        out.within("record", |out| self::record(out, record));
    }
    out.0.push_str("</feedback>\n");
    out.0
}

/// RFC 9990, 9.1.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:dmarc-2.0";

/// A report should tell no more signatures of one message (RFC 9990, "DKIM Signatures in Aggregate Reports").
pub const MAX_SIGNATURES: usize = 100;

fn metadata(out: &mut Xml, report: &Report) {
    let metadata = &report.metadata;
    out.text("org_name", &metadata.organization);
    out.text("email", &metadata.email);
    out.optional("extra_contact_info", metadata.extra_contact.as_deref());
    out.text("report_id", &metadata.id);
    out.within("date_range", |out| {
        out.text("begin", &metadata.begin.to_string());
        out.text("end", &metadata.end.to_string());
    });
    if !metadata.errors.is_empty() {
        out.text("error", &metadata.errors.join("; "));
    }
    out.optional("generator", metadata.generator.as_deref());
}

fn policy(out: &mut Xml, report: &Report) {
    let policy = &report.policy;
    out.text("domain", &policy.domain);
    out.optional("discovery_method", policy.discovery.map(|discovery| discovery.as_str()));
    // Required; a record without `p` counts as `none` (RFC 9989, 4.7).
    out.text("p", policy.p.map_or("none", |p| p.as_str()));
    out.optional("sp", policy.sp.map(|sp| sp.as_str()));
    out.optional("np", policy.np.map(|np| np.as_str()));
    out.optional("fo", policy.fo.as_deref());
    out.optional("adkim", policy.adkim.map(|mode| mode.as_str()));
    out.optional("aspf", policy.aspf.map(|mode| mode.as_str()));
    out.optional("testing", policy.testing.map(|testing| if testing { "y" } else { "n" }));
}

fn record(out: &mut Xml, record: &Record) {
    out.within("row", |out| {
        out.text("source_ip", &record.source.to_canonical().to_string());
        out.text("count", &record.count.to_string());
        out.within("policy_evaluated", |out| {
            out.text("disposition", record.disposition.as_str());
            out.text("dkim", record.dkim.as_str());
            out.text("spf", record.spf.as_str());
            for reason in &record.reasons {
                let kind = match reason.kind {
                    Override::Forwarded | Override::SampledOut => Override::Other,
                    kind => kind,
                };
                out.within("reason", |out| {
                    out.text("type", kind.as_str());
                    out.optional("comment", reason.comment.as_deref());
                });
            }
        });
    });
    out.within("identifiers", |out| {
        out.text("header_from", &record.header_from);
        out.optional("envelope_from", record.envelope_from.as_deref());
    });
    out.within("auth_results", |out| {
        let known = record.dkim_results.iter().filter_map(|dkim| Some((dkim, dkim.result?)));
        for (dkim, result) in known.take(MAX_SIGNATURES) {
            out.within("dkim", |out| {
                out.text("domain", &dkim.domain);
                out.text("selector", &dkim.selector);
                out.text("result", result.as_str());
                out.optional("human_result", dkim.human_result.as_deref());
            });
        }
        if let Some((spf, result)) = record.spf_results.iter().find_map(|spf| Some((spf, spf.result?))) {
            out.within("spf", |out| {
                out.text("domain", &spf.domain);
                // The only identity that DMARC uses, and the only scope that the schema knows.
                out.text("scope", "mfrom");
                out.text("result", result.as_str());
            });
        }
    });
}

struct Xml(String);

impl Xml {
    fn within(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.0, "<{name}>");
        fill(self);
        let _ = writeln!(self.0, "</{name}>");
    }

    fn text(&mut self, name: &str, text: &str) {
        let _ = write!(self.0, "<{name}>");
        for character in text.chars().filter(|character| is_xml(*character)) {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                // A bare CR would be read as LF.
                '\r' => self.0.push_str("&#13;"),
                other => self.0.push(other),
            }
        }
        let _ = writeln!(self.0, "</{name}>");
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }
}

/// `Char` of XML 1.0, 2.2.
fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
