//! The policy socket: a Dovecot that keeps its own auth process asks before each login, and tells how it ended (`auth_policy_server_url`;
//! the hook that weakforced serves). HTTP/1.1, one JSON object in a POST of at most [`MOST_BODY`] bytes:
//!
//! ```text
//! POST /?command=allow     {"login":"a@example.org","remote":"192.0.2.7","pwhash":"0336","protocol":"imap","tls":false,…}
//! POST /?command=report    the same, and "success":true|false, "policy_reject":true|false
//! 200                      {"status":0,"msg":""}     0 look at the password, -1 refuse
//! ```
//!
//! Whatever is wrong with a request, the answer is "look at it": a policy that cannot be asked must lock nobody out. Refuses other methods.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost::mail::Address;
use gatepost::net::{Drain, Stream};
use gatepost::telemetry::printable;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;

use crate::hearsay::{Advice, Attempt, Hearsay};

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
    success: bool,
    #[serde(default)]
    policy_reject: bool,
    /// Why it failed, since 2.4; what is no wrong password does not count.
    #[serde(default)]
    fail_type: Option<String>,
}

/// Serves one connection.
pub(crate) async fn serve(stream: Stream, drain: Drain, heard: Arc<Hearsay>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let heard = Arc::clone(&heard);
        async move {
            let (status, text) = match request.method().as_str() {
                "POST" => (200, answer(request, &heard).await),
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

async fn answer(request: Request<Incoming>, heard: &Hearsay) -> &'static str {
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
    let login = Address::parse(&told.login).map_or(told.login, |address| address.to_string());
    let attempt = Attempt { login, remote: told.remote, guess: told.pwhash };
    if report {
        let is_guess =
            told.fail_type.as_deref().is_none_or(|kind| ["credentials", "account"].contains(&kind));
        if !told.success && !told.policy_reject && is_guess {
            heard.was_wrong(&attempt);
        }
        return ALLOW;
    }
    match heard.advise(&attempt) {
        Advice::Allow => ALLOW,
        Advice::Refuse => {
            let login = printable(attempt.login.as_bytes(), SHOWN).replace(' ', "\\x20");
            let service = printable(told.protocol.as_bytes(), SHOWN).replace(' ', "\\x20");
            tracing::info!(%login, %service, rip = %attempt.remote, result = "too-many", "login refused");
            REFUSE
        }
    }
}

const ALLOW: &str = r#"{"status":0,"msg":""}"#;
const REFUSE: &str = r#"{"status":-1,"msg":"too many wrong passwords; try later"}"#;
/// What Dovecot sends has some 300 bytes.
const MOST_BODY: usize = 16 * 1024;
/// hyper's least.
const MAX_HEAD: usize = 8192;
/// Dovecot waits for 2 s (auth_policy_server_timeout_msecs).
const PATIENCE: Duration = Duration::from_secs(2);
/// Dovecot keeps connections for the next login.
const IDLE: Duration = Duration::from_secs(300);
/// How much of a name the log shows.
const SHOWN: usize = 320;
