//! Logs and metrics: set up once, at the start of a process.
//!
//! Logs go to journald with their fields, or to stderr as lines; metrics to whoever asks the optional listener over HTTP. Neither
//! ever holds a secret, and a peer's text only as [`printable`].

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{ListenAddress, Log, LogLevel, LogTarget};
use crate::net::{Drain, Endpoint, Stream};

/// Starts logging for the whole process; called once. A second call changes nothing.
pub fn start_log(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let to_journal = match log.target {
        LogTarget::Auto => std::env::var_os("JOURNAL_STREAM").is_some(),
        LogTarget::Stderr => false,
        LogTarget::Journald => true,
    };
    let journal = to_journal.then(tracing_journald::layer).and_then(Result::ok);
    let lines = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false)
    });
    // Other crates speak of themselves at info; the operator reads of mail.
    let ours = tracing_subscriber::filter::EnvFilter::new(format!(
        "warn,gatepost={level},gatepost_milter={level},gatepost_dovecot_auth={level},gatepost_postfix_policy={level}"
    ));
    let _ = tracing_subscriber::registry().with(ours).with(journal).with(lines).try_init();
}

/// A peer's bytes as they may stand in a log: at most `limit` characters, everything but printable ASCII escaped.
pub fn printable(bytes: &[u8], limit: usize) -> String {
    let mut text: String = bytes.escape_ascii().map(char::from).take(limit).collect();
    if bytes.escape_ascii().nth(limit).is_some() {
        text.push('…');
    }
    text
}

/// The metrics of one process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Metrics whose names begin with `prefix`, such as `gatepost_milter`.
    pub fn with_prefix(prefix: &str) -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix(prefix))))
    }

    /// Adds metrics; called while a daemon is built.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = prometheus_client::encoding::text::encode(
            &mut text,
            &self.0.lock().unwrap_or_else(PoisonError::into_inner),
        );
        text
    }

    /// The listener that answers every GET with the metrics.
    pub(crate) fn endpoint(&self, listen: ListenAddress) -> Endpoint {
        let metrics = self.clone();
        Endpoint::new("metrics", vec![listen], move |stream, drain| serve(metrics.clone(), stream, drain))
    }
}

async fn serve(metrics: Metrics, stream: Stream, drain: Drain) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (status, text) = match request.method().as_str() {
            "GET" => (200, metrics.text()),
            _ => (405, "only GET is answered here\n".to_owned()),
        };
        let response = Response::builder()
            .status(status)
            .header("content-type", "text/plain; version=0.0.4; charset=utf-8");
        async move { Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap_or_default()) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_REQUEST);
    tokio::select! {
        () = drain.started() => {}
        outcome = http.serve_connection(TokioIo::new(stream), answer) => if let Err(error) = outcome {
            tracing::debug!(%error, "metrics request");
        }
    }
}

/// A scraper sends its request at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// hyper's least; a scraper's request has some hundred bytes.
const MAX_REQUEST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_is_cut_and_made_printable() {
        assert_eq!(printable(b"AUTH\t1\x01\xff\n", 80), "AUTH\\t1\\x01\\xff\\n");
        assert_eq!(printable(b"abcdef", 3), "abc…");
        assert_eq!(printable(b"abc", 3), "abc");
    }

    #[test]
    fn metrics_carry_their_prefix() {
        let metrics = Metrics::with_prefix("gatepost_test");
        let counter = metrics.register(|registry| {
            let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
            registry.register("lookups", "Lookups answered", counter.clone());
            counter
        });
        counter.inc();
        assert!(metrics.text().contains("gatepost_test_lookups_total 1"), "{}", metrics.text());
    }
}
