//! A bar for work that takes long: what is done, of how much, and when it will be over.
//!
//! For verbs that read or write thousands of things. It is drawn on stderr, and only where that is a terminal: a pipe, a log or a
//! script never sees it, and stdout has the result alone. NO_COLOR is respected.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar; it goes when it is dropped.
pub(in crate::ctl) struct Progress(ProgressBar);

impl Progress {
    /// Begins: `what` is done, such as "learning", with `total` things, such as "messages"; without a total their number is shown alone.
    pub(in crate::ctl) fn new(what: &'static str, things: &str, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()),
            None => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        };
        let template = match total {
            Some(_) => format!("{{msg}} {{bar:30}} {{pos}} of {{len}} {things}, {{eta}} left"),
            None => format!("{{msg}} {{spinner}} {{pos}} {things}, {{elapsed}}"),
        };
        // A template that cannot be read leaves indicatif's own.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        Self(bar)
    }

    /// So many more are done.
    pub(in crate::ctl) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    /// Runs what prints, with the bar out of the way.
    pub(in crate::ctl) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
