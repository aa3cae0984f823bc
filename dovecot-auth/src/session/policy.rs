//! The policy socket: a Dovecot that keeps its own auth process asks before each login, and tells how it ended (`auth_policy_server_url`;
//! the hook that weakforced serves). HTTP/1.1, one JSON object in a POST of at most [`MOST_BODY`] bytes:
//!
//! ```text
//! POST /?command=allow     {"login":"a@example.org","remote":"192.0.2.7","pwhash":"0336","protocol":"imap","tls":false,…}
//! POST /?command=report    the same, and "success":true|false, "policy_reject":true|false
//! 200                      {"status":0,"msg":""}     0 look at the password, -1 refuse
//! ```
//!
//! What Dovecot tells counts in the same guard as the passwords that we judge ([`crate::guard`]): whoever guesses at its IMAP is turned away at
//! Postfix too, on all hosts. Dovecot sends 12 bits of a hash of login and password, which is enough to tell two wrong ones apart (of
//! guesses beyond a limit, one in some hundred looks like one that was counted, and is let through); the same wrong password here and at
//! Postfix counts twice.
//!
//! Whatever is wrong with a request, the answer is "look at it": a policy that cannot be asked must lock nobody out. Refuses other methods, and
//! to know passwords.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost::config::Secret;
use gatepost::mail::Address;
use gatepost::net::{Drain, Stream};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;

use crate::attempt::Circumstances;
use crate::service::DovecotAuth;
use crate::verdict::{Judgement, Refusal, Verdict};

/// What Dovecot tells; further fields are of no meaning here.
#[derive(Debug, Deserialize)]
struct Told {
    login: String,
    remote: IpAddr,
    #[serde(default)]
    pwhash: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    device_id: String,
    #[serde(default)]
    success: bool,
    #[serde(default)]
    policy_reject: bool,
    /// Why it failed, since 2.4; what is no wrong password does not count.
    #[serde(default)]
    fail_type: Option<String>,
}

/// Serves one connection.
pub(crate) async fn serve(stream: Stream, drain: Drain, service: Arc<DovecotAuth>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = Arc::clone(&service);
        async move {
            let (status, text) = match request.method().as_str() {
                "POST" => (200, answer(request, &service).await),
                _ => (405, "only POST is answered here\n"),
            };
            let response = Response::builder().status(status).header("content-type", "application/json");
            Ok::<_, Infallible>(
                response.body(Full::new(Bytes::from_static(text.as_bytes()))).unwrap_or_default(),
            )
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(MAX_HEAD);
    tokio::select! {
        () = drain.started() => {}
        outcome = http.serve_connection(TokioIo::new(stream), answer) => if let Err(error) = outcome {
            tracing::debug!(%error, "policy request");
        }
    }
}

async fn answer(request: Request<Incoming>, service: &DovecotAuth) -> &'static str {
    let report =
        request.uri().query().is_some_and(|query| query.split('&').any(|word| word == "command=report"));
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), MOST_BODY).collect()).await;
    let Ok(Ok(body)) = body else { return ALLOW };
    let told = match serde_json::from_slice::<Told>(&body.to_bytes()) {
        Ok(told) => told,
        Err(error) => {
            tracing::warn!(%error, "a policy request that is none; does auth_policy_request_attributes hold login, remote and pwhash?");
            return ALLOW;
        }
    };
    let advice = tokio::time::timeout(PATIENCE, told.settle(service, report)).await;
    if let Ok(Verdict::Deferred(_)) = advice { REFUSE } else { ALLOW }
}

impl Told {
    /// Counts what is told, or says what would become of the login.
    async fn settle(self, service: &DovecotAuth, report: bool) -> Verdict {
        let address = Address::parse(&self.login);
        let login = address.as_ref().map_or_else(|_| self.login.to_lowercase(), Address::to_string);
        let is_guess =
            self.fail_type.as_deref().is_none_or(|kind| ["credentials", "account"].contains(&kind));
        let circumstances = Circumstances {
            mechanism: "policy",
            service: self.protocol,
            remote: self.remote.to_string(),
            client: self.device_id,
            session: self.session_id,
            keep: false,
        };
        // Nothing that we are told of a login can be taken for a password of somebody.
        let secret = Secret::new(format!("\0{}", self.pwhash));
        let mut trial = service.begin(&circumstances, &login, &secret).await;
        let verdict = match (report, self.success, address) {
            (true, true, Ok(login)) => Verdict::Accepted(login),
            (true, false, _) if is_guess && !self.policy_reject => Verdict::Refused(Refusal::WrongPassword),
            (false, ..) if trial.is_too_much() => Verdict::Deferred(Refusal::Guessing),
            // Nothing to count, and nothing to say.
            _ => {
                service.guard.give_up(&mut trial);
                return Verdict::Unavailable(String::new());
            }
        };
        service.conclude(&circumstances, &login, Judgement::from(verdict), Some(&mut trial))
    }
}

const ALLOW: &str = r#"{"status":0,"msg":""}"#;
const REFUSE: &str = r#"{"status":-1,"msg":"too many wrong passwords; try later"}"#;
/// What Dovecot sends has some 300 bytes.
const MOST_BODY: usize = 16 * 1024;
/// hyper's least.
const MAX_HEAD: usize = 8192;
/// Dovecot waits for 2 s (auth_policy_server_timeout_msecs).
const PATIENCE: Duration = Duration::from_millis(1800);
/// Dovecot keeps connections for the next login.
const IDLE: Duration = Duration::from_secs(300);
