//! SCRAM-SHA-256 (RFC 7677) and SCRAM-SHA-1 (RFC 5802): the password is proved and never sent, and the server proves that it knows it.
//!
//! ```text
//! C: n,,n=alice@example.com,r=CLIENTNONCE
//! S: r=CLIENTNONCESERVERNONCE,s=SALT,i=10000
//! C: c=biws,r=CLIENTNONCESERVERNONCE,p=PROOF
//! S: v=SIGNATURE
//! ```
//!
//! Without channel binding: `y` (the client could, and believes that we cannot) is right, `p=` is refused. Somebody who is not there is asked
//! for a proof like anybody else, with a salt that stays the same. Messages have at most [`LONGEST`] bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost::password::{ScramHash, ScramVerifier};

use super::{Answer, Exchange, Mechanism, Needs, Proved, Question, Step, clean};
use crate::verdict::Refusal;

/// The mechanism.
pub(super) const SCRAM_SHA_256: Mechanism = Mechanism {
    name: "SCRAM-SHA-256",
    flags: &["mutual-auth"],
    summary: "the password is proved, not sent (RFC 7677)",
    needs: Needs::Verifiers,
    begin: |_| Box::new(Scram::new(ScramHash::Sha256)),
};

/// The mechanism.
pub(super) const SCRAM_SHA_1: Mechanism = Mechanism {
    name: "SCRAM-SHA-1",
    summary: "the password is proved, not sent (RFC 5802)",
    begin: |_| Box::new(Scram::new(ScramHash::Sha1)),
    ..SCRAM_SHA_256
};

/// More than any login and nonce need.
const LONGEST: usize = 2048;
/// As many characters as a nonce of ours has.
const NONCE: usize = 24;

struct Scram {
    kind: ScramHash,
    stage: Stage,
}

enum Stage {
    /// Nothing was said.
    Begun,
    /// The client has said who it is, and its verifier is being asked for.
    Asked(First),
    /// The server's first message is out.
    Challenged(First, Server),
    /// It is over.
    Over,
}

/// The client's first message.
struct First {
    authorization: String,
    login: String,
    /// `n,a=…,`
    header: String,
    /// All behind that.
    bare: String,
    nonce: String,
}

/// The server's first message.
struct Server {
    verifier: ScramVerifier,
    refusal: Option<Refusal>,
    message: String,
    nonce: String,
}

impl Scram {
    fn new(kind: ScramHash) -> Self {
        Self { kind, stage: Stage::Begun }
    }

    fn challenge(
        &mut self,
        first: First,
        verifier: ScramVerifier,
        refusal: Option<Refusal>,
        ours: &str,
    ) -> Step {
        let nonce = format!("{}{ours}", first.nonce);
        let salt = STANDARD.encode(verifier.salt());
        let message = format!("r={nonce},s={salt},i={}", verifier.iterations());
        let challenge = message.clone().into_bytes().into();
        self.stage = Stage::Challenged(first, Server { verifier, refusal, message, nonce });
        Step::Challenge(challenge)
    }
}

impl Exchange for Scram {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        let Some(message) = response else {
            return match self.stage {
                Stage::Begun => Step::Challenge(b"".as_slice().into()),
                _ => Step::Malformed("no response"),
            };
        };
        let Some(message) = clean(message).filter(|message| message.len() <= LONGEST) else {
            return Step::Malformed("control characters, no UTF-8, or too long");
        };
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Begun => match First::parse(message) {
                Ok(first) => {
                    let question = Question::Verifier(self.kind, first.login.clone());
                    self.stage = Stage::Asked(first);
                    Step::Ask(question)
                }
                Err(why) => Step::Malformed(why),
            },
            Stage::Challenged(first, server) => finish(first, &server, message),
            Stage::Asked(_) | Stage::Over => Step::Malformed("a message too many"),
        }
    }

    fn told(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.stage, Stage::Over), answer) {
            (Stage::Asked(first), Answer::Verifier(verifier, refusal)) => {
                let random: [u8; NONCE * 3 / 4] = rand::random();
                self.challenge(first, verifier, refusal, &STANDARD.encode(random))
            }
            _ => Step::Malformed("nothing was asked"),
        }
    }
}

impl First {
    /// `gs2-header [reserved-mext ","] username "," nonce ["," extensions]` (RFC 5802, 7).
    fn parse(message: &str) -> Result<Self, &'static str> {
        let mut parts = message.splitn(3, ',');
        let (binding, behalf, bare) = (parts.next(), parts.next(), parts.next());
        match binding {
            Some("n" | "y") => {}
            Some(binding) if binding.starts_with("p=") => {
                return Err("channel binding, which is not offered");
            }
            _ => return Err("no GS2 header"),
        }
        let (Some(behalf), Some(bare)) = (behalf, bare) else { return Err("no GS2 header") };
        let authorization = match behalf.strip_prefix("a=") {
            Some(name) => {
                unescape(name).filter(|name| !name.is_empty()).ok_or("a bad name in the GS2 header")?
            }
            None if behalf.is_empty() => String::new(),
            None => return Err("no GS2 header"),
        };
        let mut attributes = bare.split(',');
        // `m=` comes first, where it comes: an extension without which the client does not want to go on.
        let login = attributes.next().and_then(|name| name.strip_prefix("n=")).ok_or("no name")?;
        let login = unescape(login).filter(|name| !name.is_empty()).ok_or("a bad name")?;
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r=")).ok_or("no nonce")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a bad nonce");
        }
        let header = message[..message.len() - bare.len()].to_owned();
        Ok(Self { authorization, login, header, bare: bare.to_owned(), nonce: nonce.to_owned() })
    }
}

/// `channel-binding "," nonce ["," extensions] "," proof`.
fn finish(first: First, server: &Server, message: &str) -> Step {
    let Some((without_proof, proof)) = message.rsplit_once(",p=") else { return Step::Malformed("no proof") };
    let Ok(proof) = STANDARD.decode(proof) else { return Step::Malformed("a proof that is no base64") };
    let mut attributes = without_proof.split(',');
    let binding = attributes.next().and_then(|binding| binding.strip_prefix("c="));
    // Somebody in the middle who took our mechanisms out of the list would show here.
    if binding.and_then(|binding| STANDARD.decode(binding).ok()).as_deref() != Some(first.header.as_bytes()) {
        return Step::Malformed("another GS2 header than at first");
    }
    let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
    if nonce != Some(server.nonce.as_str()) {
        return Step::Malformed("another nonce than the server's");
    }
    let exchanged = format!("{},{},{without_proof}", first.bare, server.message);
    // Calculated for nobody too.
    let is_proved = server.verifier.is_proved(exchanged.as_bytes(), &proof);
    match server.refusal {
        Some(refusal) => Step::Disproved(first.login, refusal),
        None if !is_proved => Step::Disproved(first.login, Refusal::WrongPassword),
        None => {
            let signature = STANDARD.encode(server.verifier.server_signature(exchanged.as_bytes()));
            Step::Proved(Proved {
                authorization: first.authorization,
                login: first.login,
                last: Some(format!("v={signature}").into_bytes()),
            })
        }
    }
}

/// A name, whose `,` and `=` are written `=2C` and `=3D`; any other `=` is an error.
fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut pieces = name.split('=');
    out.push_str(pieces.next()?);
    for piece in pieces {
        let (escaped, rest) = piece.split_at_checked(2)?;
        out.push(match escaped {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

impl std::fmt::Debug for Scram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    /// RFC 7677, 3, its server's nonce included.
    #[test]
    fn the_example_of_the_rfc_is_proved() {
        let verifier = ScramVerifier::parse(
            ScramHash::Sha256,
            "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        )
        .unwrap();
        let mut scram = Scram::new(ScramHash::Sha256);
        let step = scram.step(Some(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
        assert!(matches!(step, Step::Ask(Question::Verifier(ScramHash::Sha256, login)) if login == "user"));
        let Stage::Asked(first) = std::mem::replace(&mut scram.stage, Stage::Over) else { panic!() };
        let Step::Challenge(challenge) =
            scram.challenge(first, verifier, None, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
        else {
            panic!()
        };
        assert_eq!(
            std::str::from_utf8(&challenge).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let Step::Proved(proved) = scram.step(Some(last.as_bytes())) else { panic!() };
        assert_eq!(proved.login, "user");
        assert_eq!(proved.last.unwrap(), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(matches!(scram.step(Some(last.as_bytes())), Step::Malformed(_)));
    }

    #[test]
    fn first_messages_that_are_none_say_why() {
        for (message, why) in [
            ("", "no GS2 header"),
            ("n", "no GS2 header"),
            ("n,,", "no name"),
            ("n,b=x,n=u,r=x", "no GS2 header"),
            ("n,a=,n=u,r=x", "a bad name in the GS2 header"),
            ("p=tls-unique,,n=u,r=x", "channel binding, which is not offered"),
            ("n,,m=x,n=u,r=x", "no name"),
            ("n,,n=,r=x", "a bad name"),
            ("n,,n=a=b,r=x", "a bad name"),
            ("n,,n=a=2cb,r=x", "a bad name"),
            ("n,,n=\u{e4}=\u{e4},r=x", "a bad name"),
            ("n,,n=u", "no nonce"),
            ("n,,n=u,r=", "a bad nonce"),
            ("n,,n=u,r=a b", "a bad nonce"),
        ] {
            assert_eq!(First::parse(message).err(), Some(why), "{message}");
        }
        let first = First::parse("y,a=b=2Cc,n=u=3Dv@x,r=abc,ext=1").unwrap();
        assert_eq!(
            (first.authorization.as_str(), first.login.as_str(), first.nonce.as_str()),
            ("b,c", "u=v@x", "abc")
        );
        assert_eq!((first.header.as_str(), first.bare.as_str()), ("y,a=b=2Cc,", "n=u=3Dv@x,r=abc,ext=1"));
    }

    /// An exchange up to the challenge; the server's nonce.
    fn challenged(verifier: &ScramVerifier, refusal: Option<Refusal>) -> (Scram, String) {
        let mut scram = Scram::new(ScramHash::Sha1);
        assert!(matches!(scram.step(Some(b"n,,n=a@b,r=abc")), Step::Ask(_)));
        let Step::Challenge(challenge) = scram.told(Answer::Verifier(verifier.clone(), refusal)) else {
            panic!()
        };
        let text = String::from_utf8(challenge.into_owned()).unwrap();
        let nonce = text.strip_prefix("r=").unwrap().split(',').next().unwrap().to_owned();
        assert!(nonce.starts_with("abc") && nonce.len() == 3 + NONCE, "{nonce}");
        (scram, nonce)
    }

    #[test]
    fn wrong_headers_nonces_and_proofs_are_told_apart() {
        let verifier = ScramVerifier::new(ScramHash::Sha1, "pencil").unwrap();
        for (message, disproved) in [
            ("c=biws,r={},p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", true),
            ("c=biws,r={},p=AAAA", true),
            ("c=biws,r={},p=", true),
            ("c=eSws,r={},p=AAAA", false),
            ("c=,r={},p=AAAA", false),
            ("c=biws,r={}x,p=AAAA", false),
            ("c=biws,r=abc,p=AAAA", false),
            ("c=biws,r={}", false),
            ("r={},c=biws,p=AAAA", false),
            ("", false),
        ] {
            let (mut scram, nonce) = challenged(&verifier, None);
            let step = scram.step(Some(message.replace("{}", &nonce).as_bytes()));
            match step {
                Step::Disproved(login, Refusal::WrongPassword) => {
                    assert!(disproved && login == "a@b", "{message}")
                }
                Step::Malformed(_) => assert!(!disproved, "{message}"),
                step => panic!("{message}: {step:?}"),
            }
        }
        let (mut scram, nonce) = challenged(&verifier, Some(Refusal::UnknownUser));
        let step = scram.step(Some(format!("c=biws,r={nonce},p=AAAA").as_bytes()));
        assert!(matches!(step, Step::Disproved(_, Refusal::UnknownUser)));
    }

    proptest! {
        #[test]
        fn any_messages_are_read_or_refused(one in "[nyp]?,?(a=)?[ -~]{0,40},?(n=)?[ -~]{0,40}(,r=[!-~]{1,9})?", two in "\\PC{0,80}") {
            let verifier = ScramVerifier::of_nobody(ScramHash::Sha256, b"x", "y");
            let mut scram = Scram::new(ScramHash::Sha256);
            if let Step::Ask(_) = scram.step(Some(one.as_bytes())) {
                prop_assert!(matches!(scram.told(Answer::Verifier(verifier, None)), Step::Challenge(_)));
                prop_assert!(!matches!(scram.step(Some(two.as_bytes())), Step::Proved(_)));
            }
        }

        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Scram::new(ScramHash::Sha1).step(Some(&bytes));
        }
    }
}
