//! The life of a daemon: start, ready, reload on SIGHUP, drain on SIGTERM; told to systemd by `sd_notify(3)`.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ConfigSource, Daemon, Parts};
use crate::config::{Config, Section};
use crate::net::{PassedSockets, Server};
use crate::telemetry;

pub(super) async fn run<D: Daemon>(source: ConfigSource) -> anyhow::Result<ExitCode> {
    // Taken before anything is opened, so that no descriptor of ours can be mistaken for one that was passed.
    let mut passed = PassedSockets::from_environment();
    let config = source.load::<D::Section>()?;
    telemetry::start_log(&config.log);
    // Signals are caught before the work starts: one that comes early is not lost.
    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    let parts = Parts::new(&config, D::NAME)?;
    let daemon = Arc::new(D::build(&config, &parts).await?);
    let mut endpoints = daemon.endpoints(&config.service);
    if let Some(listen) = config.service.metrics().or(config.limits.metrics.as_ref()) {
        endpoints.push(parts.metrics.endpoint(listen.clone()));
    }
    raise_file_limit(config.limits.connections);
    let server = Server::bind(endpoints, config.limits.connections, &mut passed).await?;
    let drain = server.drain();
    let directory = parts.directory.clone();
    let watch = tokio::spawn(go_on("watching the database", AFTER_PANIC, move || directory.clone().watch()));
    let beside = Arc::clone(&daemon);
    let background = tokio::spawn(go_on("what goes on beside the serving", AFTER_PANIC, move || {
        Arc::clone(&beside).background()
    }));
    let deadline = config.limits.drain.0;
    let serving = tokio::spawn(server.run(deadline));
    let watchdog = tokio::spawn(watchdog());
    notify(&[NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "{} ready", D::NAME);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = next(&mut hangup) => reload(&*daemon, config.path.as_deref(), &config),
        }
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("{} stopping: running transactions have {deadline:?} to end", D::NAME);
    drain.start();
    let cut = serving.await?;
    watch.abort();
    background.abort();
    // Ended, not only told to end: `finish` takes over what it held.
    let _ = background.await;
    if tokio::time::timeout(super::FINISH, daemon.finish()).await.is_err() {
        tracing::warn!("what was still to be written down was not, within {:?}", super::FINISH);
    }
    watchdog.abort();
    tracing::info!(cut, "{} stopped", D::NAME);
    Ok(ExitCode::SUCCESS)
}

/// Does something until it is done, and begins again where it panics: a daemon that serves on, but writes nothing down and hears of no change
/// any more, would be found out too late. What it held is there for the next round: locks of tokio are given back, not poisoned.
async fn go_on<F: Future<Output = ()>>(what: &'static str, pause: Duration, work: impl Fn() -> F) {
    // The message of the panic itself is in the log already.
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        tracing::error!("{what} panicked, which is a bug of ours; it begins again in {pause:?}");
        tokio::time::sleep(pause).await;
    }
}

async fn next(signal: &mut Signal) {
    signal.recv().await;
}

/// Reads the file again; anything wrong with it keeps the old.
fn reload<D: Daemon>(daemon: &D, path: Option<&Path>, running: &Config<D::Section>) {
    notify(&[NotifyState::Reloading]);
    let source = ConfigSource::new(path.map(Path::to_owned));
    let outcome = source.load::<D::Section>().map_err(anyhow::Error::from).and_then(|config| {
        let restart = needs_restart(&config, running);
        daemon.reload(&config)?;
        Ok(restart)
    });
    match outcome {
        Ok(restart) if restart.is_empty() => tracing::info!("configuration reloaded"),
        Ok(restart) => tracing::warn!(
            sections = restart.join(" "),
            "configuration reloaded; changes in these sections need a restart"
        ),
        Err(error) => tracing::error!("configuration not reloaded, the old one stays: {error:#}"),
    }
    notify(&[NotifyState::Ready]);
}

/// The sections that are built once and have changed.
fn needs_restart<S: std::fmt::Debug>(new: &Config<S>, old: &Config<S>) -> Vec<&'static str> {
    let changed = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}") != format!("{b:?}");
    let sections = [
        ("[database]", changed(&new.database, &old.database)),
        ("[log]", changed(&new.log, &old.log)),
        ("[limits]", changed(&new.limits, &old.limits)),
    ];
    sections.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// Tells systemd that the process lives, twice as often as it asks for; ends at once where it does not ask.
async fn watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((period / 2).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this does nothing.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "sd_notify");
    }
}

/// Every connection is a file; the soft limit of 1024 is lower than `limits.connections`.
fn raise_file_limit(connections: usize) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = connections as u64 + SPARE_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).is_err() {
        tracing::warn!(soft, wanted, "the limit of open files could not be raised; set LimitNOFILE");
    } else if hard < wanted {
        tracing::warn!(hard, wanted, "limits.connections is beyond the limit of open files; set LimitNOFILE");
    }
}

/// So that what panics each time fills neither the log nor a processor.
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// Database connections, listeners, logs, DNS sockets.
const SPARE_FILES: u64 = 256;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_goes_on_beside_the_serving_begins_again_after_a_panic() {
        let (rounds, held) = (AtomicUsize::new(0), tokio::sync::Mutex::new(()));
        let work = || async {
            let _held = held.lock().await;
            assert!(rounds.fetch_add(1, Ordering::Relaxed) >= 2, "as a bug might");
        };
        go_on("a test", Duration::ZERO, work).await;
        assert_eq!(rounds.load(Ordering::Relaxed), 3);
    }
}
