//! JSON Web Tokens (RFC 7519) as compact JWS (RFC 7515), and the keys that verify them (JWK, RFC 7517 and 7518, RFC 8037).
//!
//! RS256, ES256 and EdDSA, each by a key of its own kind alone (RFC 8725, 3.1 and 3.2): `none` is no algorithm, and a public key is never the
//! secret of an HMAC, because no HMAC is known here. Keys that are for something else, too short, or of an unknown kind are left out of a set.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// A token, read and not believed.
pub struct Jwt<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    /// Header and claims as they were signed.
    signed: &'a str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

/// Why a token's signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// There is no such key.
    NoKey,
    /// The signature is none of that key, or what it signs is no set of claims.
    Bad(&'static str),
}

impl Unverified {
    /// For the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoKey => "no such key",
            Self::Bad(why) => why,
        }
    }
}

/// An issuer's keys.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// As the algorithm wants it: an uncompressed point, or 32 bytes.
    Bytes(Vec<u8>),
}

impl<'a> Jwt<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// For the log: why it is none.
    pub fn parse(token: &'a str) -> Result<Self, &'static str> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("no JWT");
        };
        let signed = &token[..header.len() + 1 + claims.len()];
        let header = object(&decode(header)?)?;
        if header.contains_key("crit") {
            return Err("a critical extension");
        }
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("RS256") => Algorithm::Rs256,
            Some("ES256") => Algorithm::Es256,
            Some("EdDSA" | "Ed25519") => Algorithm::EdDsa,
            _ => return Err("an algorithm that is not allowed"),
        };
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { algorithm, key_id, signed, claims: decode(claims)?, signature: decode(signature)? })
    }

    /// The claims, if a key of the set has signed them.
    ///
    /// # Errors
    /// [`Unverified`].
    pub fn verify(&self, keys: &KeySet) -> Result<Map<String, Value>, Unverified> {
        let fits = |key: &&Key| {
            key.algorithm == self.algorithm
                && (self.key_id.is_none() || key.id.is_none() || key.id == self.key_id)
        };
        let mut candidates = keys.0.iter().filter(fits).take(MOST_TRIED).peekable();
        if candidates.peek().is_none() {
            return Err(Unverified::NoKey);
        }
        if !candidates.any(|key| key.has_signed(self.signed.as_bytes(), &self.signature)) {
            return Err(Unverified::Bad("a bad signature"));
        }
        object(&self.claims).map_err(Unverified::Bad)
    }
}

impl KeySet {
    /// Reads a JSON Web Key Set.
    ///
    /// # Errors
    /// It is none, or has no key that is of use; a sentence.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(json).map_err(|error| format!("no JSON: {error}"))?;
        let keys =
            set.get("keys").and_then(Value::as_array).ok_or("no JSON Web Key Set: it has no \"keys\"")?;
        let keys: Vec<Key> = keys.iter().take(MOST_KEYS).filter_map(Key::parse).collect();
        if keys.is_empty() {
            return Err("no key in it is of use: expected RSA of 2048 bits or more (RS256), P-256 (ES256) or Ed25519 (EdDSA)".into());
        }
        Ok(Self(keys))
    }
}

impl Key {
    fn parse(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let (algorithm, names, material): (_, &[&str], _) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                let n: Vec<u8> = n.into_iter().skip_while(|byte| *byte == 0).collect();
                if n.len() < 2048 / 8 || e.is_empty() || e.len() > 8 {
                    return None;
                }
                (Algorithm::Rs256, &["RS256"], Material::Rsa { n, e })
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                (Algorithm::Es256, &["ES256"], Material::Bytes([&[4][..], &x, &y].concat()))
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32)?;
                (Algorithm::EdDsa, &["EdDSA", "Ed25519"], Material::Bytes(x))
            }
            // `oct` would be the secret of an HMAC.
            _ => return None,
        };
        if text("alg").is_some_and(|named| !names.contains(&named)) {
            return None;
        }
        Some(Self { id: text("kid").map(str::to_owned), algorithm, material })
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, self.algorithm) {
            (Material::Rsa { n, e }, _) => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            (Material::Bytes(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Material::Bytes(key), _) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| "no base64url")
}

fn object(json: &[u8]) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err("no JSON object"),
    }
}

/// An issuer has two or three.
const MOST_KEYS: usize = 64;
/// How many keys without a matching name are tried for one token.
const MOST_TRIED: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    };
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn b64(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn token(header: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(br#"{"email":"a@b"}"#));
        let signature = sign(signed.as_bytes());
        format!("{signed}.{}", b64(&signature))
    }

    /// One key of each kind: its JWK, and what signs with it.
    type Signer = Box<dyn Fn(&[u8]) -> Vec<u8>>;
    fn signers() -> Vec<(&'static str, Value, Signer)> {
        let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let public = rsa.public_key();
        let (n, e) = (
            public.modulus().big_endian_without_leading_zero(),
            public.exponent().big_endian_without_leading_zero(),
        );
        let rsa_jwk =
            json!({"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": b64(n), "e": b64(e)});
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = ec.public_key().as_ref().to_vec();
        let ec_jwk =
            json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": b64(&point[1..33]), "y": b64(&point[33..])});
        let ed = Ed25519KeyPair::generate().unwrap();
        let ed_jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": b64(ed.public_key().as_ref())});
        vec![
            (
                "RS256",
                rsa_jwk,
                Box::new(move |message| {
                    let mut signature = vec![0; rsa.public_modulus_len()];
                    rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                    signature
                }),
            ),
            (
                "ES256",
                ec_jwk,
                Box::new(move |message| ec.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()),
            ),
            ("EdDSA", ed_jwk, Box::new(move |message| ed.sign(message).as_ref().to_vec())),
        ]
    }

    fn verify(token: &str, keys: &Value) -> Result<Map<String, Value>, &'static str> {
        let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        Jwt::parse(token)?.verify(&set).map_err(Unverified::word)
    }

    #[test]
    fn each_kind_of_key_verifies_its_own_algorithm_and_no_other() {
        let signers = signers();
        let all: Vec<Value> = signers.iter().map(|(_, jwk, _)| jwk.clone()).collect();
        for (name, jwk, sign) in &signers {
            for header in [json!({"alg": name, "kid": jwk["kid"], "typ": "at+jwt"}), json!({"alg": name})] {
                let good = token(&header, sign);
                assert_eq!(verify(&good, &json!(all)).unwrap()["email"], "a@b");
                // One character of the claims, and of the signature.
                let (signed, signature) = good.rsplit_once('.').unwrap();
                let (header, _) = signed.split_once('.').unwrap();
                let forged = format!("{header}.{}.{signature}", b64(br#"{"email":"c@d"}"#));
                assert_eq!(verify(&forged, &json!(all)).unwrap_err(), "a bad signature");
                assert!(verify(&format!("{signed}."), &json!(all)).is_err());
            }
            let elsewhere = token(&json!({"alg": name, "kid": "another"}), sign);
            assert_eq!(verify(&elsewhere, &json!(all)).unwrap_err(), "no such key");
            // Signed well, with the name of another algorithm.
            for (other, ..) in signers.iter().filter(|(other, ..)| other != name) {
                assert!(verify(&token(&json!({"alg": other}), sign), &json!([jwk])).is_err());
            }
            assert_eq!(
                verify(&token(&json!({"alg": name, "crit": ["exp"]}), sign), &json!(all)).unwrap_err(),
                "a critical extension"
            );
        }
    }

    #[test]
    fn none_and_hmac_are_no_algorithms() {
        let signers = signers();
        let jwk = &signers[0].1;
        let secret = jwk["n"].as_str().unwrap().as_bytes();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        for name in ["HS256", "none", "None", "NONE", "RS512", "PS256", "", "rs256"] {
            for sign in [true, false] {
                let token = token(&json!({"alg": name}), |message| {
                    if sign { aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec() } else { Vec::new() }
                });
                assert_eq!(
                    verify(&token, &json!([jwk])).unwrap_err(),
                    "an algorithm that is not allowed",
                    "{name}"
                );
            }
        }
        assert!(verify(&token(&json!({}), |_| Vec::new()), &json!([jwk])).is_err());
        for bad in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.", "W10.e30.AA", "!.e30.AA"] {
            assert!(Jwt::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_that_are_of_no_use_are_left_out() {
        let good = signers().remove(0).1;
        for change in [
            json!({"use": "enc"}),
            json!({"alg": "PS256"}),
            json!({"alg": "HS256"}),
            json!({"n": b64(&[0xff; 128])}),
            json!({"e": ""}),
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "EC", "crv": "P-384"}),
            json!({"kty": 5}),
        ] {
            let mut jwk = good.as_object().unwrap().clone();
            jwk.extend(change.as_object().unwrap().clone());
            let error = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap_err();
            assert!(error.contains("no key in it is of use"), "{change}: {error}");
        }
        for bad in ["", "{}", "[]", "{\"keys\":{}}"] {
            assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_token_or_an_error(text in "[A-Za-z0-9_.-]{0,80}") {
            let _ = Jwt::parse(&text);
        }

        #[test]
        fn any_json_is_a_key_set_or_an_error(kty in "(RSA|EC|OKP|oct)", n in "[A-Za-z0-9_-]{0,400}", crv in "(P-256|Ed25519)") {
            let _ = KeySet::parse(json!({"keys": [{"kty": kty, "n": n, "e": n, "x": n, "y": n, "crv": crv}]}).to_string().as_bytes());
        }
    }
}
