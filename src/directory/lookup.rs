//! The one answer to a question about the world: found, none, unavailable or misconfigured, never blurred.

use crate::database::Trouble;

/// An answer. What each protocol makes of it stands in the failure table of the README; the types keep it from being folded into
/// a yes or no anywhere before that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Lookup<T> {
    /// It is there.
    Found(T),
    /// It is certainly not there.
    None,
    /// Nobody can say now; the text is for the log.
    Unavailable(String),
    /// Nobody can say until the operator acts; the text says how.
    Misconfigured(String),
}

impl<T> Lookup<T> {
    /// The same answer about something derived from it.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Lookup<U> {
        match self {
            Self::Found(value) => Lookup::Found(f(value)),
            Self::None => Lookup::None,
            Self::Unavailable(why) => Lookup::Unavailable(why),
            Self::Misconfigured(why) => Lookup::Misconfigured(why),
        }
    }

    /// What was found, if anything was.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is there.
    pub fn is_found(&self) -> bool {
        matches!(self, Self::Found(_))
    }

    /// Whether it is certainly not there.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Neither found nor none: the reason why, for another question that depended on this one.
    ///
    /// # Errors
    /// The same failure, of any type; `Ok` holds what was found, or that there is none.
    pub fn settled<U>(self) -> Result<Option<T>, Lookup<U>> {
        match self {
            Self::Found(value) => Ok(Some(value)),
            Self::None => Ok(None),
            Self::Unavailable(why) => Err(Lookup::Unavailable(why)),
            Self::Misconfigured(why) => Err(Lookup::Misconfigured(why)),
        }
    }
}

impl<T> From<Result<Option<T>, Trouble>> for Lookup<T> {
    fn from(answer: Result<Option<T>, Trouble>) -> Self {
        match answer {
            Ok(Some(value)) => Self::Found(value),
            Ok(None) => Self::None,
            Err(trouble) => trouble.into(),
        }
    }
}

impl<T> From<Trouble> for Lookup<T> {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(why) => Self::Unavailable(why),
            other => Self::Misconfigured(other.to_string()),
        }
    }
}
