//! Sections `[milter.signing]` and `[milter.privacy]` of the configuration.
//!
//! For `config`, which holds them, `signature` and `draft`. A name that must not be signed or removed is refused where it stands.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// `[milter.signing]`: what a signature covers, whose mail gets one, and what is done so that it holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct SigningSettings {
    /// Whether a login may also sign as those who share a mailbox to it. Off: own address and aliases only.
    pub shared: bool,
    /// Header fields of which nobody may add one later: signed once more than present (RFC 6376, 8.15). For who needs a list to
    /// be able to add a `Cc`.
    pub oversign: Vec<FieldName>,
    /// Header fields that are signed where they are present.
    pub sign: Vec<FieldName>,
    /// The same for mail of our own mailing lists. Never oversigned: a list that passes our users' mail on adds these, and must
    /// be able to. One-click unsubscription works only where they are signed (RFC 8058, 4).
    pub list_headers: Vec<FieldName>,
    /// What becomes of 8-bit text in mail that leaves.
    pub eight_bit: EightBit,
}

impl Default for SigningSettings {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| FieldName((*name).to_owned())).collect();
        Self {
            shared: true,
            oversign: names(&["From", "Subject", "Date", "To", "Cc", "Message-ID", "Content-Type"]),
            sign: names(&[
                "Reply-To",
                "In-Reply-To",
                "References",
                "MIME-Version",
                "Content-Disposition",
                "Content-Language",
            ]),
            list_headers: names(&[
                "List-Id",
                "List-Post",
                "List-Help",
                "List-Subscribe",
                "List-Unsubscribe",
                "List-Unsubscribe-Post",
                "List-Owner",
                "List-Archive",
            ]),
            eight_bit: EightBit::Encode,
        }
    }
}

impl SigningSettings {
    /// What cannot be seen name by name.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let lists =
            [("oversign", &self.oversign), ("sign", &self.sign), ("list-headers", &self.list_headers)];
        let mut seen: Vec<&FieldName> = Vec::new();
        for (key, names) in lists {
            for name in names {
                if let Some((_, why)) = NEVER_SIGNED.iter().find(|(never, _)| name.is(never)) {
                    return Err(format!("`signing.{key}`: {} cannot be signed: {why}", name.as_str()));
                }
                if name.is("Content-Transfer-Encoding") && self.eight_bit == EightBit::Keep {
                    return Err(format!(
                        "`signing.{key}`: Content-Transfer-Encoding can be signed only with `eight-bit = \"encode\"`, \
                         because Postfix rewrites it for servers without 8BITMIME"
                    ));
                }
                if seen.iter().any(|other| name.is(other.as_str())) {
                    return Err(format!("`signing.{key}`: {} is named twice", name.as_str()));
                }
                seen.push(name);
            }
        }
        if !self.oversign.iter().chain(&self.sign).any(|name| name.is("From")) {
            return Err("`signing.oversign` must name From: a signature without it is none (RFC 6376, 5.4)"
                .to_owned());
        }
        Ok(())
    }
}

/// `milter.signing.eight-bit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EightBit {
    /// It is encoded as quoted-printable before it is signed (RFC 6376, 5.3), unless every recipient is here.
    Encode,
    /// It leaves as it is; smtp(8) breaks the signature where the next server does not offer 8BITMIME.
    Keep,
}

/// `[milter.privacy]`: what leaves with submitted mail about its sender's devices.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Privacy {
    /// Header fields that are removed from submitted mail. The rules see them before.
    pub remove: Vec<FieldName>,
    /// Whether a comment in `MIME-Version` goes, in which some mail programs name themselves and the system they run on.
    pub bare_mime_version: bool,
}

impl Default for Privacy {
    fn default() -> Self {
        let names = ["Received", "X-Originating-IP", "X-Mailer", "User-Agent", "X-Enigmail", "X-MimeOLE"];
        Self { remove: names.map(|name| FieldName(name.to_owned())).to_vec(), bare_mime_version: true }
    }
}

impl Privacy {
    /// A list must not take away what makes a message one.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self.remove.iter().find(|name| NEVER_REMOVED.iter().any(|never| name.is(never))) {
            Some(name) => Err(format!("`privacy.remove`: {} must not be removed", name.as_str())),
            None => Ok(()),
        }
    }
}

/// The name of a header field: printable ASCII without colon (RFC 5322, 3.6.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName(String);

impl FieldName {
    /// As it stands in the configuration.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that name; names compare without case (RFC 5322, 1.2.2).
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let printable = !name.is_empty()
            && name.len() <= MAX_NAME
            && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b':' | b';'));
        if printable {
            Ok(Self(name))
        } else {
            Err(D::Error::custom(format!("\"{name}\" is no name of a header field")))
        }
    }
}

/// Longer names than any in use; they stand in `h=`.
const MAX_NAME: usize = 76;

/// Fields of which a later change is certain, or which say nothing to be vouched for (RFC 6376, 5.4.1 and 5.4.2).
const NEVER_SIGNED: [(&str, &str); 8] = [
    ("Return-Path", "it is replaced at delivery"),
    ("Received", "every server adds one"),
    ("Delivered-To", "it is added at delivery"),
    ("Bcc", "Postfix removes it"),
    ("Resent-Bcc", "Postfix removes it"),
    ("Content-Length", "Postfix removes it"),
    ("DKIM-Signature", "it is added to the message after it was signed"),
    ("Authentication-Results", "receivers remove and add them"),
];

/// Fields without which a message is another one.
const NEVER_REMOVED: [&str; 13] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Date",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
