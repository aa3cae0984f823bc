//! `[milter.verification]`: what is done with the answers of SPF, DKIM and DMARC beyond judging by them.

use serde::Deserialize;

/// `[milter.verification]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct VerificationKeys {
    /// What becomes of mail from outside whose sender cannot be verified now because DNS does not answer.
    pub on_temperror: OnTempError,
    /// Whether `Received-SPF` (RFC 7208, 9.1) is added besides `Authentication-Results`, for programs that read only that.
    pub received_spf: bool,
    /// How many questions to DNS one message is worth. SPF alone may ask for 111 names (RFC 7208, 4.6.4), and is asked twice.
    pub questions: u32,
}

/// `milter.verification.on-temperror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnTempError {
    /// It is judged by what is known.
    Continue,
    /// 451: the client comes again when DNS answers. For those who rather wait than take a forged message while DNS is away; mail of
    /// domains whose DNS stays broken is returned to its senders after days.
    Tempfail,
}

impl Default for VerificationKeys {
    fn default() -> Self {
        Self { on_temperror: OnTempError::Continue, received_spf: false, questions: 300 }
    }
}

impl VerificationKeys {
    /// What is wrong with it.
    ///
    /// # Errors
    /// Too few questions for one honest message.
    pub fn validate(self) -> Result<(), String> {
        if self.questions < FEWEST_QUESTIONS {
            return Err(format!(
                "`verification.questions` must be {FEWEST_QUESTIONS} or more, or honest mail could not be verified"
            ));
        }
        Ok(())
    }
}

/// DMARC's walks, some keys, and an SPF record of ten terms.
const FEWEST_QUESTIONS: u32 = 50;
