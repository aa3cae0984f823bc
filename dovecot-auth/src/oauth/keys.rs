//! The issuer's keys: read from a file or fetched, kept, and read again in time or when a token names one that is not there.
//!
//! While the issuer cannot be reached, the last keys count. A flood of tokens with made-up key names costs one fetch in [`AGAIN`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost::directory::Lookup;
use reqwest::Client;
use tokio::sync::Mutex;

use super::jwt::KeySet;

/// The keys.
#[derive(Debug)]
pub(super) struct Keys {
    source: Source,
    /// Held while they are fetched, so that one fetch serves all.
    state: Mutex<State>,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Url(String, Client),
}

#[derive(Debug, Default)]
struct State {
    set: Option<Arc<KeySet>>,
    read_at: Option<Instant>,
    tried_at: Option<Instant>,
    /// Why they could not be read the last time; empty where they could.
    trouble: String,
}

impl Keys {
    /// The keys of a file, which must be good now.
    pub(super) fn in_file(path: &Path) -> Result<Self, String> {
        let set = read(path)?;
        let now = Some(Instant::now());
        let state = State { set: Some(Arc::new(set)), read_at: now, tried_at: None, trouble: String::new() };
        Ok(Self { source: Source::File(path.to_owned()), state: Mutex::new(state) })
    }

    /// The keys that a URL has; fetched when first needed.
    pub(super) fn at(url: String, client: Client) -> Self {
        Self { source: Source::Url(url, client), state: Mutex::default() }
    }

    /// The keys as they were not longer than [`FRESH`] ago, or the last ones.
    pub(super) async fn present(&self) -> Lookup<Arc<KeySet>> {
        let mut state = self.state.lock().await;
        if state.read_at.is_none_or(|at| at.elapsed() > FRESH) {
            self.refresh(&mut state).await;
        }
        state.answer()
    }

    /// The keys as they are now, if they were not looked at a moment ago. While the issuer cannot be reached, nobody can say: it may have others by now.
    pub(super) async fn newer(&self) -> Lookup<Arc<KeySet>> {
        let mut state = self.state.lock().await;
        self.refresh(&mut state).await;
        if state.trouble.is_empty() { state.answer() } else { state.unavailable() }
    }

    async fn refresh(&self, state: &mut State) {
        if state.tried_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        state.tried_at = Some(Instant::now());
        let read = match &self.source {
            Source::File(path) => read(path),
            Source::Url(url, client) => fetch(url, client).await,
        };
        match read {
            Ok(set) => {
                state.set = Some(Arc::new(set));
                state.read_at = Some(Instant::now());
                state.trouble.clear();
            }
            Err(why) => {
                tracing::warn!(%why, "the issuer's keys cannot be read; the last ones count");
                state.trouble = why;
            }
        }
    }
}

impl State {
    fn answer(&self) -> Lookup<Arc<KeySet>> {
        match &self.set {
            Some(set) => Lookup::Found(Arc::clone(set)),
            None => self.unavailable(),
        }
    }

    fn unavailable(&self) -> Lookup<Arc<KeySet>> {
        Lookup::Unavailable(format!("the issuer's keys: {}", self.trouble))
    }
}

fn read(path: &Path) -> Result<KeySet, String> {
    let json =
        std::fs::read(path).map_err(|error| format!("oauth.jwks-file: {}: {error}", path.display()))?;
    KeySet::parse(&json).map_err(|reason| format!("oauth.jwks-file: {}: {reason}", path.display()))
}

async fn fetch(url: &str, client: &Client) -> Result<KeySet, String> {
    let response = client.get(url).send().await.map_err(|error| format!("{url}: {}", error.without_url()))?;
    let status = response.status();
    if status != reqwest::StatusCode::OK {
        return Err(format!("{url}: HTTP status {status}"));
    }
    let body = super::body(response).await.map_err(|reason| format!("{url}: {reason}"))?;
    KeySet::parse(&body).map_err(|reason| format!("{url}: {reason}"))
}

/// How long keys are believed to be all there are.
const FRESH: Duration = Duration::from_secs(600);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(10);
