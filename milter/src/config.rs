//! Section `[milter]` of the configuration: every key, what it means, and who would change it.
//!
//! For `lib`, which builds the service from it. The keys' documentation is the operator's: `examples/gatepost.toml` and the man
//! page repeat it. A key is refused with its place when it is unknown; so is a symbol in `weights` that is no rule's.

mod actions;
mod arc;
mod verification;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use gatepost::config::{ByteSize, ListenAddress, Network, Seconds, Section};
use gatepost::dmarc::settings::Reports;
use gatepost::spam::symbols;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

pub use actions::{Actions, ReportHeaders};
pub use arc::{Arc, Seal};
pub use verification::{OnTempError, VerificationKeys};

use crate::antivirus;
use crate::authentication::Verification;
use crate::enforcement;
use crate::history::settings as history;
use crate::learning;
use crate::lists;
use crate::score::{self, Thresholds, View};
use crate::signing::{Privacy, SigningSettings};
use crate::transaction::Bounds;

/// `[milter]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Milter {
    /// Where Postfix reaches us: what stands in `smtpd_milters` and `non_smtpd_milters`. A unix socket must lie where Postfix
    /// can open it (a chrooted smtpd sees only below its queue directory). By default the socket that the `.socket` unit passes.
    pub listen: Vec<ListenAddress>,
    /// Where this daemon's metrics are read, if not at `limits.metrics`.
    pub metrics: Option<ListenAddress>,
    /// The database role of this daemon, if not `database.user`: `gatepost_milter` reads signing keys and no password hashes.
    pub database_user: Option<String>,
    /// The file with that role's password.
    pub database_password_file: Option<PathBuf>,
    /// The name under which we sign our `Authentication-Results` (RFC 8601). Not set: Postfix's own `myhostname`. Several hosts
    /// that deliver to the same mailboxes should share one.
    pub authserv_id: Option<String>,
    /// From this score on, mail from outside is refused with 554 5.7.1.
    pub reject: f64,
    /// From this score on, it gets `X-Spam: Yes`, which Sieve files into Junk.
    pub add_header: f64,
    /// Points of single rules, instead of their defaults (`gatepost-milter list` shows all). 0 switches a rule off.
    pub weights: Weights,
    /// Whether mail from outside is judged by the rules. Without them it is verified, DMARC is enforced and the results are written down:
    /// for a host that keeps another spam filter behind us.
    pub rules: bool,
    /// Whether headers explain the verdict on mail from outside (`X-Spamd-Result` and its kin). `X-Spam: Yes` is added in any
    /// case.
    pub explain: bool,
    /// What becomes of mail of ours that should be signed while the database is away or not as it must be.
    pub on_unavailable: OnUnavailable,
    /// Networks whose unauthenticated SMTP mail is ours, as `127.0.0.0/8`: signed like local mail, never judged. For the web
    /// application on the next host that cannot log in.
    pub local_networks: Vec<Network>,
    /// How long everything that is asked about one message (DNS, the database) may take together; what is not known by then is judged without.
    /// What is asked only then (exceptions from DMARC, keys to seal with, the greylist) has 3 s more at the most, all of it together.
    /// Postfix waits 300 s.
    pub deadline: Seconds,
    /// `[milter.verification]`.
    pub verification: VerificationKeys,
    /// `[milter.lists]`.
    pub lists: lists::settings::Settings,
    /// `[milter.antivirus]`.
    pub antivirus: antivirus::Settings,
    /// `[milter.arc]`.
    pub arc: Arc,
    /// `[milter.actions]`: what is done besides refusing and marking.
    pub actions: Actions,
    /// `[milter.dmarc]`.
    pub dmarc: enforcement::Settings,
    /// `[milter.reports]`: DMARC aggregate reports.
    pub reports: Reports,
    /// `[milter.learning]`.
    pub learning: learning::Settings,
    /// `[milter.history]`.
    pub history: history::Settings,
    /// `[milter.limits]`.
    pub limits: Limits,
    /// `[milter.signing]`.
    pub signing: SigningSettings,
    /// `[milter.privacy]`.
    pub privacy: Privacy,
}

impl Default for Milter {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Systemd("milter".into())],
            metrics: None,
            database_user: None,
            database_password_file: None,
            authserv_id: None,
            reject: 15.0,
            add_header: 6.0,
            weights: Weights::default(),
            rules: true,
            explain: true,
            on_unavailable: OnUnavailable::Tempfail,
            local_networks: Vec::new(),
            deadline: Seconds::new(8),
            verification: VerificationKeys::default(),
            lists: lists::settings::Settings::default(),
            antivirus: antivirus::Settings::default(),
            arc: Arc::default(),
            actions: Actions::default(),
            dmarc: enforcement::Settings::default(),
            reports: Reports::default(),
            learning: learning::Settings::default(),
            history: history::Settings::default(),
            limits: Limits::default(),
            signing: SigningSettings::default(),
            privacy: Privacy::default(),
        }
    }
}

/// `milter.on-unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnavailable {
    /// 451 4.7.1: the mail program, or Postfix's pickup, tries again; nothing leaves unsigned.
    Tempfail,
    /// It leaves unsigned, with a warning in the log.
    Unsigned,
}

/// `[milter.limits]`: how much of one message is looked at. No mail is refused for being beyond.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// How much of a body the rules see.
    pub rules_body: ByteSize,
    /// The longest body whose DKIM signatures are verified, if `antivirus.message` is not longer. Postfix's `message_size_limit` is 10 MiB by
    /// default.
    pub message: ByteSize,
    /// The memory for long bodies of all connections together; a message that finds none left is judged without DKIM.
    pub memory: ByteSize,
    /// How many DKIM signatures of one message are verified.
    pub signatures: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rules_body: ByteSize(4 << 20),
            message: ByteSize(64 << 20),
            memory: ByteSize(256 << 20),
            signatures: 10,
        }
    }
}

impl Section for Milter {
    const NAME: &'static str = "milter";

    fn validate(&self) -> Result<(), String> {
        if self.listen.is_empty() {
            return Err("`listen` is empty; name at least one address".to_owned());
        }
        if !(self.reject.is_finite() && self.add_header.is_finite() && self.add_header > 0.0) {
            return Err("`reject` and `add-header` must be positive numbers".to_owned());
        }
        if self.reject <= self.add_header {
            return Err(format!(
                "`reject` ({}) must be higher than `add-header` ({}), or no mail would ever be marked",
                self.reject, self.add_header
            ));
        }
        if let Some(id) = &self.authserv_id
            && gatepost::mail::Domain::parse(id).is_err()
        {
            return Err(format!("`authserv-id` \"{id}\" is no host name"));
        }
        if self.limits.rules_body.0 > self.limits.message.0 {
            return Err("`limits.rules-body` must not be larger than `limits.message`".to_owned());
        }
        if self.antivirus.clamd.is_some() && self.antivirus.message.0 > self.limits.memory.0 {
            return Err(format!(
                "`antivirus.message` ({}) must not be larger than `limits.memory` ({}), or such mail could never be kept to be scanned",
                self.antivirus.message, self.limits.memory
            ));
        }
        self.actions.validate()?;
        self.verification.validate()?;
        self.lists.validate()?;
        self.antivirus.validate()?;
        self.arc.validate()?;
        self.learning.validate()?;
        if self.deadline.0.is_zero() {
            return Err("`deadline` must be more than 0s".to_owned());
        }
        self.reports.validate()?;
        self.history.validate()?;
        self.signing.validate()?;
        self.privacy.validate()
    }

    fn database_user(&self) -> Option<&str> {
        self.database_user.as_deref()
    }

    fn database_password_file(&self) -> Option<&Path> {
        self.database_password_file.as_deref()
    }

    fn metrics(&self) -> Option<&ListenAddress> {
        self.metrics.as_ref()
    }
}

impl Milter {
    /// What verification of one message may cost.
    pub fn verification(&self) -> Verification {
        Verification {
            deadline: self.deadline.0,
            signatures: self.limits.signatures,
            questions: self.verification.questions,
            trusted_sealers: self.arc.trusted_sealers.clone(),
        }
    }

    /// How mail is judged for somebody for whom nothing else is set.
    pub fn view(&self) -> View {
        let actions = &self.actions;
        let thresholds = Thresholds {
            greylist: actions.greylist.points(),
            add_header: self.add_header,
            rewrite_subject: actions.rewrite_subject.points(),
            quarantine: actions.quarantine.points(),
            reject: self.reject,
            discard: actions.discard.points(),
        };
        View {
            reject_text: actions.reject_text.clone(),
            subject: actions.subject.clone(),
            ..View::new(score::Weights::new(&self.weights.0), thresholds)
        }
    }

    /// How much of a message is kept.
    pub fn bounds(&self) -> Bounds {
        let bytes = |size: ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        Bounds {
            rules_body: if self.rules { bytes(self.limits.rules_body) } else { 0 },
            message: bytes(self.limits.message),
            hash_inbound: self.arc.seal != Seal::Off,
            scan: self.antivirus.clamd.as_ref().map_or(0, |_| bytes(self.antivirus.message)),
        }
    }
}

/// `[milter.weights]`: symbols and their points; every symbol is a rule's.
#[derive(Clone, Debug, Default)]
pub struct Weights(pub BTreeMap<String, f64>);

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightsVisitor)
    }
}

struct WeightsVisitor;

impl<'de> Visitor<'de> for WeightsVisitor {
    type Value = Weights;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of symbols and points")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Weights, M::Error> {
        let mut weights = BTreeMap::new();
        while let Some(Symbol(symbol)) = map.next_key()? {
            let weight: f64 = map.next_value()?;
            if !weight.is_finite() || weight.abs() > MAX_WEIGHT {
                return Err(M::Error::custom(format!("weight {weight} of {symbol} is beyond ±{MAX_WEIGHT}")));
            }
            weights.insert(symbol, weight);
        }
        Ok(Weights(weights))
    }
}

/// More than any threshold anyone sets; beyond it a typing error is likelier than an intention.
const MAX_WEIGHT: f64 = 1000.0;

/// A key of `weights`, refused at its own place when it is no rule's symbol.
struct Symbol(String);

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let symbol = String::deserialize(deserializer)?;
        symbols::known(&symbol).map_err(D::Error::custom)?;
        Ok(Self(symbol))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::rules::RULES;

    fn milter(text: &str) -> Result<Milter, String> {
        let parsed =
            gatepost::config::parse::<Milter>(&format!("[milter]\n{text}"), Path::new("gatepost.toml"));
        parsed.map(|config| config.service).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_valid() {
        Milter::default().validate().unwrap();
        milter("").unwrap();
    }

    #[test]
    fn every_key() {
        let symbol = RULES[0].symbol;
        let all = milter(&format!(
            "listen = [\"inet:127.0.0.1:11332\"]\nmetrics = \"inet:127.0.0.1:9325\"\ndatabase-user = \"gatepost_milter\"\n\
             database-password-file = \"/etc/gatepost/milter.password\"\nauthserv-id = \"mx.example.com\"\nreject = 20\n\
             add-header = 5.5\nexplain = false\non-unavailable = \"unsigned\"\nlocal-networks = [\"192.0.2.0/24\", \"::1\"]\n\
             deadline = \"4s\"\n\
             [milter.verification]\non-temperror = \"tempfail\"\nreceived-spf = true\nquestions = 100\n\
             [milter.lists]\nenabled = true\non = [\"spamcop\"]\noff = [\"uribl\"]\nnames = 5\n\
             [milter.antivirus]\nclamd = \"unix:/run/clamav/clamd.ctl\"\non-unavailable = \"header\"\nmessage = \"10MiB\"\n\
             [milter.arc]\ntrusted-sealers = [\"google.com\"]\nseal = \"leaving\"\nseal-domain = \"example.com\"\nseal-selector = \"arc\"\n\
             [milter.dmarc]\nenforce = false\nreject = \"quarantine\"\nmailing-lists = \"quarantine\"\non-unavailable = \"quarantine\"\n\
             [milter.actions]\ngreylist = \"off\"\ngreylist-delay = \"1m\"\nrewrite-subject = 8\nsubject = \"[spam] %s\"\nquarantine = 10.5\n\
             discard = 30\nreject-text = \"No\"\nheaders = [\"x-spam-status\"]\ncorrespondents = false\nremember-replies = \"7d\"\n\
             [milter.weights]\n{symbol} = 0\n[milter.limits]\nrules-body = \"1MiB\"\nmessage = \"10MiB\"\nmemory = \"64MiB\"\nsignatures = 3\n\
             [milter.signing]\nshared = false\noversign = [\"From\"]\nsign = []\nlist-headers = []\neight-bit = \"keep\"\n\
             [milter.history]\nrecord = false\nkeep = \"7d\"\nsubject = false\n\
             [milter.privacy]\nremove = [\"X-Mailer\"]\nbare-mime-version = false\n"
        ))
        .unwrap();
        assert!(!all.signing.shared && all.privacy.remove.len() == 1);
        assert_eq!(all.on_unavailable, OnUnavailable::Unsigned);
        assert_eq!(all.weights.0.get(symbol), Some(&0.0));
        assert_eq!(all.verification.on_temperror, OnTempError::Tempfail);
        assert_eq!(all.verification().questions, 100);
        assert_eq!((all.arc.seal, all.arc.trusted_sealers.len()), (Seal::Leaving, 1));
        assert_eq!((all.bounds().message, all.bounds().scan), (10 << 20, 10 << 20));
        let lists: Vec<&str> = all.lists.lists().iter().map(|list| list.name).collect();
        assert!(lists.contains(&"spamcop") && !lists.contains(&"uribl") && lists.contains(&"surbl"));
        assert_eq!(all.verification().deadline.as_secs(), 4);
        assert_eq!(all.dmarc.reject, enforcement::OnReject::Quarantine);
        let view = all.view();
        assert_eq!((view.thresholds.quarantine, view.thresholds.greylist), (10.5, f64::INFINITY));
        assert_eq!((view.subject.around(), view.reject_text.as_str()), (("[spam] ", ""), "No"));
        assert!(all.actions.headers.has("X-Spam-Status") && !all.actions.headers.has("X-Spam-Level"));
    }

    #[test]
    fn the_sentence_of_every_mistake() {
        for (text, sentence) in [
            ("[milter.history]\nkeep = \"1m\"", "`history.keep` must be at least 1h"),
            ("[milter.history]\nsubjects = true", "did you mean \"subject\"?"),
            ("rejekt = 3", "did you mean"),
            ("reject = 4", "must be higher than `add-header`"),
            ("add-header = -1", "must be positive"),
            ("listen = []", "`listen` is empty"),
            ("authserv-id = \"a b\"", "is no host name"),
            ("local-networks = [\"10.0.0.0/33\"]", "is no network"),
            ("on-unavailable = \"drop\"", "tempfail"),
            ("[milter.weights]\nGTUB = 1", "unknown symbol \"GTUB\"; did you mean GTUBE?"),
            ("[milter.weights]\nGTUBE = 1e9", "beyond ±1000"),
            ("[milter.verification]\non-temperror = \"reject\"", "tempfail"),
            ("[milter.verification]\nquestions = 5", "`verification.questions` must be 50 or more"),
            ("[milter.arc]\nseal = \"all\"", "`arc.seal` needs `arc.seal-domain`"),
            ("[milter.arc]\nseal = \"some\"", "leaving"),
            ("[milter.arc]\ntrusted-sealers = [\"a b\"]", "`arc.trusted-sealers` \"a b\" is no domain"),
            ("[milter.lists]\non = [\"spamkop\"]", "unknown list \"spamkop\"; did you mean \"spamcop\"?"),
            ("[milter.lists]\non = [\"surbl\"]\noff = [\"surbl\"]", "both name surbl"),
            ("[milter.lists]\nnames = 0", "`lists.names` must be 1 to 100"),
            ("[milter.lists.questions]\nuribll = 5", "unknown list \"uribll\"; did you mean \"uribl\"?"),
            ("[milter.lists.questions]\nuribl = 0", "`lists.questions.uribl` must be 1 or more"),
            ("[milter.lists.questions]\nuribl = \"few\"", "invalid type: string"),
            ("[milter.antivirus]\nclamd = \"systemd:x\"", "is where clamd listens"),
            (
                "[milter.antivirus]\nclamd = \"unix:/clamd\"\n[milter.limits]\nmemory = \"16MiB\"",
                "`antivirus.message` (25MiB) must not be larger than `limits.memory` (16MiB)",
            ),
            ("[milter.antivirus]\non-unavailable = \"drop\"", "tempfail"),
            ("deadline = \"0s\"", "`deadline` must be more"),
            ("[milter.actions]\ngreylist = -1", "is no number of points"),
            ("[milter.actions]\ngreylist = \"on\"", "expected such as 6.5, or off"),
            ("[milter.actions]\ngreylist-delay = \"2d\"", "or nothing would ever pass"),
            ("[milter.actions]\nsubject = \"SPAM\"", "exactly one %s"),
            ("[milter.actions]\nreject-text = \"a\\nb\"", "not printable ASCII"),
            ("[milter.actions]\nheaders = [\"X-Foo\"]", "\"X-Foo\" is none of X-Spamd-Result"),
            ("[milter.dmarc]\nenforce = \"no\"", "boolean"),
            ("[milter.dmarc]\nreject = \"discard\"", "quarantine"),
            ("[milter.dmarc]\nmailing-list = \"policy\"", "did you mean"),
            ("[milter.limits]\nrules-body = \"65MiB\"", "must not be larger"),
            (
                "[milter.signing]\nsign = [\"Return-Path\"]",
                "Return-Path cannot be signed: it is replaced at delivery",
            ),
            ("[milter.signing]\nsign = [\"cc\"]", "`signing.sign`: cc is named twice"),
            ("[milter.signing]\noversign = [\"To\"]", "must name From"),
            ("[milter.signing]\nsign = [\"a b\"]", "is no name of a header field"),
            ("[milter.signing]\neight-bit = \"no\"", "encode"),
            (
                "[milter.signing]\neight-bit = \"keep\"\nsign = [\"Content-Transfer-Encoding\"]",
                "only with `eight-bit = \"encode\"`",
            ),
            ("[milter.privacy]\nremove = [\"from\"]", "`privacy.remove`: from must not be removed"),
        ] {
            let error = milter(text).unwrap_err();
            assert!(error.contains(sentence), "{text}: {error}");
            assert!(error.starts_with("gatepost.toml:"), "{error}");
        }
        // An unknown symbol is shown where it stands.
        let error = milter("[milter.weights]\nNO_SUCH_THING_AT_ALL = 1").unwrap_err();
        assert!(error.starts_with("gatepost.toml:3:"), "{error}");
    }
}
