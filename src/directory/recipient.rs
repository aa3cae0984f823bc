//! An address on its way through the engine of `resolve`: folded where it is looked up, as typed where it is put back.

use crate::mail::{Address, Domain};

/// An address as asked or as written to: folded for questions, its local part as typed for answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub(super) exact: Address,
    pub(super) typed: Box<str>,
}

/// The same without its extension.
pub(super) struct Stripped {
    pub(super) base: Address,
    /// Delimiter included, as typed: Postfix folds what it looks up, not what it puts back.
    pub(super) extension: String,
}

impl Recipient {
    /// Parses an address; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (exact, typed) = Address::parse_typed(text).ok()?;
        Some(Self { exact, typed })
    }

    /// The address, folded.
    pub fn exact(&self) -> &Address {
        &self.exact
    }

    /// The local part as typed, without quotes.
    pub fn typed_local(&self) -> &str {
        &self.typed
    }

    pub(super) fn stripped(&self, delimiters: &str) -> Option<Stripped> {
        let (base, folded) = self.exact.strip_extension(delimiters)?;
        let typed = self.typed.find(|c| delimiters.contains(c)).map(|at| self.typed[at..].to_owned());
        let extension = typed.filter(|typed| typed.to_lowercase() == folded).unwrap_or(folded);
        Some(Stripped { base, extension })
    }

    /// The destination of an alias with an extension behind its local part; without it where that grows too long, as the mailbox gets the
    /// mail either way.
    pub(super) fn behind(destination: &Address, extension: Option<&str>) -> Self {
        let extended = extension.and_then(|extension| {
            Some((destination.with_extension(extension)?, format!("{}{extension}", destination.local())))
        });
        let (exact, typed) =
            extended.unwrap_or_else(|| (destination.clone(), destination.local().to_owned()));
        Self { exact, typed: typed.into() }
    }

    pub(super) fn moved_to(&self, domain: &Domain) -> Option<Self> {
        let exact = Address::new(self.exact.local(), domain.clone()).ok()?;
        Some(Self { exact, typed: self.typed.clone() })
    }
}
