//! `[milter.learning]`.

use std::path::PathBuf;

use gatepost::config::{ListenAddress, Seconds};
use serde::Deserialize;

use super::Lexicon;

/// `[milter.learning]`: what people say of messages, and what is made of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whether mail from outside is judged by what was learned, and kept for learning. Off: nothing is learned either.
    pub enabled: bool,
    /// Where Dovecot's Sieve hands over messages that were moved into or out of Junk (`sieve_pipe_socket_dir`): a unix socket that
    /// only Dovecot's users can open, for whoever writes to it teaches. By default nowhere.
    pub listen: Vec<ListenAddress>,
    /// The file that spares a start the reading of the whole log; by default `model` in the directory that systemd gives
    /// (`StateDirectory=`), and none without systemd.
    pub checkpoint: Option<PathBuf>,
    /// What the model knows before anybody has taught it.
    pub start: Start,
    /// Whether mail that a login answers is learned as wanted, for him who answers it.
    pub ham_from_replies: bool,
    /// Whether mail from those whom a login has written to, proven by SPF, DKIM or DMARC, is learned as wanted by him: as long as less ham
    /// than spam has been shown, and only what the model is not sure of.
    pub ham_from_correspondents: bool,
    /// How long judged messages are kept, so that what is learned is what was judged.
    pub keep_judged: Seconds,
    /// How long samples are kept, 7 days at least. Older ones are forgotten, and the models made anew without them.
    pub retention: Seconds,
}

/// What a model begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// The words of spam and of wanted mail that ship with the program.
    #[default]
    Words,
    /// Nothing.
    Nothing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: Vec::new(),
            checkpoint: None,
            start: Start::Words,
            ham_from_replies: false,
            ham_from_correspondents: false,
            keep_judged: Seconds::new(14 * DAY),
            retention: Seconds::new(180 * DAY),
        }
    }
}

impl Settings {
    /// What contradicts itself, in words for the operator.
    ///
    /// # Errors
    /// The first such thing.
    pub fn validate(&self) -> Result<(), String> {
        for address in &self.listen {
            if matches!(address, ListenAddress::Tcp(_)) {
                return Err(format!(
                    "learning.listen: {address} would learn from anybody; use a unix socket"
                ));
            }
        }
        if self.retention.0.as_secs() < 7 * DAY {
            return Err("learning.retention is less than 7 days; mail is learned once and forgotten with it"
                .to_owned());
        }
        Ok(())
    }

    /// Where to listen: nowhere when nothing is to be learned.
    pub fn listens(&self) -> Vec<ListenAddress> {
        if self.enabled { self.listen.clone() } else { Vec::new() }
    }

    /// The words that the model begins with.
    pub fn lexicon(&self) -> Lexicon {
        match self.start {
            Start::Words => Lexicon::shipped(),
            Start::Nothing => Lexicon::default(),
        }
    }

    /// Where the checkpoint is.
    pub fn checkpoint(&self) -> Option<PathBuf> {
        self.checkpoint.clone().or_else(|| {
            // systemd names several directories with colons between them; ours has one.
            let state = std::env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty())?;
            Some(PathBuf::from(state).join("model"))
        })
    }
}

const DAY: u64 = 86_400;
