//! `gatepost why`: everything that is known of one message's decision, and what would have changed it.

use anyhow::bail;
use clap::Args;
use gatepost::daemon::print_line;
use gatepost::mail::Address;
use serde_json::Value;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::history::{text, time};

/// Which message.
#[derive(Args)]
pub(super) struct Which {
    /// Postfix's queue id, as its log and the sender's bounce have it, or a Message-ID
    #[arg(value_name = "QUEUE-ID|MESSAGE-ID")]
    id: String,
    /// Only for this recipient
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<Address>,
    /// One JSON object for each recipient
    #[arg(long)]
    json: bool,
}

/// Shows the messages of that id, the newest first; an error where there is none.
pub(super) async fn run(which: Which, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    let id = which.id.trim().trim_start_matches('<').trim_end_matches('>');
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT to_jsonb(history)::text FROM gatepost.history
         WHERE (queue_id = $1 OR message_id = $1) AND ($2::text IS NULL OR lower(recipient) = lower($2))
         ORDER BY at DESC, id, action, score, recipient LIMIT 1000",
    )
    .bind(id.to_owned())
    .bind(which.recipient.as_ref().map(Address::to_string))
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    let rows: Vec<Value> = rows.iter().map(|(row,)| serde_json::from_str(row)).collect::<Result<_, _>>()?;
    if rows.is_empty() {
        bail!(
            "no message {id} is in the history; `gatepost history --text …` looks elsewhere, and milter.history.keep says how far back it goes"
        );
    }
    if which.json {
        for row in rows {
            let mut row = row;
            row["otherwise"] = Decision::of(&row).otherwise().into();
            print_line(&row.to_string());
        }
        return Ok(());
    }
    // One table for recipients that had the same result.
    let mut shown: Vec<(&Value, Vec<&str>)> = Vec::new();
    for row in &rows {
        let same = |known: &Value| ["id", "action", "score"].iter().all(|name| known[*name] == row[*name]);
        match shown.iter_mut().find(|(known, _)| same(known)) {
            Some((_, recipients)) => recipients.push(text(row, "recipient")),
            None => shown.push((row, vec![text(row, "recipient")])),
        }
    }
    for (number, (row, recipients)) in shown.iter().enumerate() {
        if number > 0 {
            print_line("");
        }
        print_line(&explained(row, recipients));
    }
    Ok(())
}

fn explained(row: &Value, recipients: &[&str]) -> String {
    let decision = Decision::of(row);
    let mut lines = Vec::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{name:<11} {value}"));
        }
    };
    let number = |name: &str| row[name].as_f64();
    field("message", format!("{} <{}>", text(row, "queue_id"), text(row, "message_id")));
    field(
        "time",
        format!("{} on {}, {} ms", time(row), text(row, "host"), number("milliseconds").unwrap_or_default()),
    );
    field("direction", text(row, "direction").to_owned());
    if let Some(client) = row["client"].as_str() {
        let client = client.split_once('/').map_or(client, |(address, _)| address);
        let tls = if row["tls"] == Value::Bool(true) { ", TLS" } else { "" };
        field(
            "client",
            format!(
                "{} [{client}], HELO {}{tls}",
                or(text(row, "client_name"), "unknown"),
                text(row, "helo")
            ),
        );
    }
    field("login", text(row, "login").to_owned());
    field("sender", or(text(row, "sender"), "<>").to_owned());
    let more = match row["omitted"].as_u64().unwrap_or_default() {
        0 => String::new(),
        omitted => format!(" and {omitted} more"),
    };
    field("recipients", format!("{}{more}", recipients.join(", ")));
    field("from", text(row, "header_from").to_owned());
    field("subject", text(row, "subject").to_owned());
    field("size", format!("{} bytes", number("size").unwrap_or_default()));
    field("result", decision.result());
    field("reply", text(row, "reply").to_owned());
    field("note", text(row, "note").to_owned());
    field("sender is", text(row, "authentication").to_owned());
    let missing: Vec<&str> =
        row["missing"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    field("missing", missing.join(", "));
    if !decision.symbols.is_empty() {
        lines.push("points".to_owned());
        let width = decision.symbols.iter().map(|symbol| symbol.name.len()).max().unwrap_or_default();
        for symbol in &decision.symbols {
            let line = format!("  {:>6.2}  {:<width$}  {}", symbol.points, symbol.name, symbol.evidence);
            lines.push(line.trim_end().to_owned());
        }
    }
    let otherwise = decision.otherwise();
    if !otherwise.is_empty() {
        lines.push("otherwise".to_owned());
        lines.extend(otherwise.into_iter().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// What was decided, as far as points have a part in it.
struct Decision<'a> {
    action: &'a str,
    score: Option<f64>,
    add_header: Option<f64>,
    reject: Option<f64>,
    /// The weightiest first.
    symbols: Vec<Symbol<'a>>,
}

struct Symbol<'a> {
    name: &'a str,
    points: f64,
    evidence: &'a str,
}

impl<'a> Decision<'a> {
    fn of(row: &'a Value) -> Self {
        let mut symbols: Vec<Symbol<'_>> = row["symbols"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|symbol| Symbol {
                name: text(symbol, "symbol"),
                points: symbol["points"].as_f64().unwrap_or_default(),
                evidence: text(symbol, "evidence"),
            })
            .collect();
        symbols.sort_by(|a, b| b.points.abs().total_cmp(&a.points.abs()));
        Self {
            action: text(row, "action"),
            score: row["score"].as_f64(),
            add_header: row["add_header"].as_f64(),
            reject: row["reject"].as_f64(),
            symbols,
        }
    }

    fn result(&self) -> String {
        match (self.score, self.add_header, self.reject) {
            (Some(score), Some(add_header), Some(reject)) => {
                format!(
                    "{}, {score:.2} points (marked from {add_header}, refused from {reject})",
                    self.action
                )
            }
            (Some(score), ..) => format!("{}, {score:.2} points", self.action),
            _ => format!("{}, not judged by points", self.action),
        }
    }

    /// What would have led to another result, in sentences. Points of a group at its bound are counted as they were given: without one
    /// symbol, others of its group may give more.
    fn otherwise(&self) -> Vec<String> {
        let (Some(score), Some(add_header), Some(reject)) = (self.score, self.add_header, self.reject) else {
            return Vec::new();
        };
        let by_points = |score: f64| match score {
            score if score >= reject => "reject",
            score if score >= add_header => "add header",
            _ => "no action",
        };
        let mut lines = Vec::new();
        if by_points(score) != self.action {
            lines.push(format!(
                "points alone would have meant \"{}\"; something else decided",
                by_points(score)
            ));
        }
        for (threshold, action) in [(add_header, "add header"), (reject, "reject")] {
            if score < threshold {
                lines.push(format!("{:.2} more points: {action}", threshold - score));
            }
        }
        for threshold in [reject, add_header].into_iter().filter(|threshold| score >= *threshold) {
            lines.extend(self.below(score, threshold, by_points));
        }
        for symbol in self.symbols.iter().filter(|symbol| symbol.points < 0.0) {
            let without = score - symbol.points;
            if by_points(without) != by_points(score) {
                lines.push(format!("without {}: {without:.2} points, {}", symbol.name, by_points(without)));
            }
        }
        lines
    }

    /// Which symbols would have to be absent for a score below the threshold: each that suffices alone, else the fewest.
    fn below(&self, score: f64, threshold: f64, by_points: impl Fn(f64) -> &'static str) -> Vec<String> {
        let given = || self.symbols.iter().filter(|symbol| symbol.points > 0.0);
        let alone: Vec<String> = given()
            .filter(|symbol| score - symbol.points < threshold)
            .map(|symbol| {
                let without = score - symbol.points;
                format!("without {}: {without:.2} points, {}", symbol.name, by_points(without))
            })
            .collect();
        if !alone.is_empty() {
            return alone;
        }
        let (mut left, mut names) = (score, Vec::new());
        for symbol in given() {
            left -= symbol.points;
            names.push(symbol.name);
            if left < threshold {
                return vec![format!(
                    "without {} together: {left:.2} points, {}",
                    names.join(", "),
                    by_points(left)
                )];
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn otherwise(action: &str, points: &[(&str, f64)]) -> Vec<String> {
        let score: f64 = points.iter().map(|(_, points)| points).sum();
        let symbols: Vec<Value> = points
            .iter()
            .map(|(name, points)| json!({"symbol": name, "points": points, "evidence": ""}))
            .collect();
        let row =
            json!({"action": action, "score": score, "add_header": 6.0, "reject": 15.0, "symbols": symbols});
        Decision::of(&row).otherwise()
    }

    #[test]
    fn says_what_would_have_changed_the_result() {
        assert_eq!(
            otherwise("no action", &[("A", 4.0)]),
            ["2.00 more points: add header", "11.00 more points: reject"]
        );
        assert_eq!(
            otherwise("add header", &[("A", 4.0), ("B", 3.0), ("C", 0.5), ("D", -0.5)]),
            [
                "8.00 more points: reject",
                "without A: 3.00 points, no action",
                "without B: 4.00 points, no action"
            ]
        );
        assert_eq!(
            otherwise("reject", &[("A", 5.0), ("B", 5.0), ("C", 5.0), ("D", 2.5)]),
            [
                "without A: 12.50 points, add header",
                "without B: 12.50 points, add header",
                "without C: 12.50 points, add header",
                "without A, B, C together: 2.50 points, no action"
            ]
        );
        assert_eq!(
            otherwise("no action", &[("A", 7.0), ("B", -2.0)]),
            [
                "1.00 more points: add header",
                "10.00 more points: reject",
                "without B: 7.00 points, add header"
            ]
        );
        assert_eq!(
            otherwise("reject", &[("A", 1.0)])[0],
            "points alone would have meant \"no action\"; something else decided"
        );
        assert!(
            Decision::of(&json!({"action": "sign", "score": null, "symbols": []})).otherwise().is_empty()
        );
    }
}
