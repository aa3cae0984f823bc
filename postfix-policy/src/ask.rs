//! `ask`: one question on the command line, through the same code as the wire.
//!
//! Refuses to be a shortcut: a map's question is put together and parsed as a request, a policy question too, and what is printed is
//! what Postfix would get. A question about a message that a login sends is counted like a message.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use gatepost::daemon::print_line;
use gatepost::directory::Trace;

use crate::protocol::{policy, socketmap};
use crate::service::PostfixPolicy;

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Ask {
    /// A map (see `list`), or `policy`
    what: String,
    /// For a map the key; for `policy` attributes such as protocol_state=DATA sasl_username=alice@example.com recipient_count=3
    #[arg(allow_hyphen_values = true)]
    question: Vec<String>,
    /// Which [[postfix-policy.policy]] to ask, counted from 1
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    endpoint: usize,
    /// Say step by step why a map answers what it does
    #[arg(long)]
    explain: bool,
}

impl Ask {
    /// Puts the question and prints the answer. As `postmap -q` does, ends with 1 where nothing was found; with 75 or 78 where there is
    /// no answer now or before the operator acts.
    pub(crate) async fn put(&self, service: &PostfixPolicy) -> anyhow::Result<ExitCode> {
        if self.what == "policy" {
            return self.put_policy(service).await;
        }
        // A key may begin with a hyphen, so what stands behind it has come along as one.
        let (words, explain) = match self.question.split_last() {
            Some((last, words)) if last == "--explain" => (words, true),
            _ => (self.question.as_slice(), self.explain),
        };
        let question = format!("{} {}", self.what, words.join(" "));
        let mut trace = if explain { Trace::on() } else { Trace::default() };
        let reply = service.look_up_traced(question.as_bytes(), &mut trace).await;
        for step in trace.steps() {
            print_line(&format!("  {step}"));
        }
        print_line(reply.text().trim_end());
        Ok(match reply {
            socketmap::Reply::Found(_) => ExitCode::SUCCESS,
            socketmap::Reply::NotFound => ExitCode::FAILURE,
            socketmap::Reply::Temporary(_) => TEMPORARY.into(),
            socketmap::Reply::Permanent(_) => gatepost::daemon::CONFIG.into(),
        })
    }

    async fn put_policy(&self, service: &PostfixPolicy) -> anyhow::Result<ExitCode> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut lines = vec!["request=smtpd_access_policy".to_owned()];
        if !self.question.iter().any(|attribute| attribute.starts_with("instance=")) {
            lines.push(format!("instance=ask.{}.{}", std::process::id(), now.as_nanos()));
        }
        lines.extend(self.question.iter().map(|attribute| attribute.replace('\n', " ")));
        let request =
            policy::Request::parse(format!("{}\n\n", lines.join("\n")).as_bytes()).context("ask policy")?;
        let endpoint = self.endpoint.checked_sub(1).context("endpoints are counted from 1")?;
        print_line(&format!("action={}", service.judge(endpoint, &request).await.text()));
        Ok(ExitCode::SUCCESS)
    }
}

/// `EX_TEMPFAIL` of sysexits.h.
const TEMPORARY: u8 = 75;
