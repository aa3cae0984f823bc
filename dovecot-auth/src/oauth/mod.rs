//! Whose an OAuth 2.0 token is: a signed JWT by the issuer's keys, or any token by asking the issuer (RFC 7662).
//!
//! A token is good if it is genuine, of the configured issuer, for the configured audience, valid now, and names a login in the configured
//! claim. An issuer that cannot be reached makes no token bad: that is "unavailable". Refuses to follow redirects, and to say to the client why
//! a token is bad.

pub mod introspection;
pub mod jwt;
mod keys;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::config::{Seconds, Secret};
use gatepost::directory::Lookup;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use introspection::Introspection;
use keys::Keys;

/// `[dovecot-auth.oauth]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The file with the issuer's public keys (a JSON Web Key Set, RFC 7517).
    pub jwks_file: Option<PathBuf>,
    /// Where the issuer publishes them: `https://…`, or `http://` on this host's loopback device.
    pub jwks_url: Option<String>,
    /// Where the issuer says whether a token is good (RFC 7662), instead of keys; the same kinds of URL.
    pub introspection_url: Option<String>,
    /// Who we are to the issuer when we ask it.
    pub client_id: Option<String>,
    /// The file with the secret to that.
    pub client_secret_file: Option<PathBuf>,
    /// Who must have given the token out (`iss`). Needed with keys.
    pub issuer: Option<String>,
    /// For whom the token must be (`aud`). Needed with keys.
    pub audience: Option<String>,
    /// The claim that is the login's full address.
    pub claim: String,
    /// What the token must allow (`scope`); nothing in particular if not set.
    pub scope: Option<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Seconds,
    /// How long the issuer may take to answer; at most 6s.
    pub timeout: Seconds,
    /// The issuer's OpenID configuration, which a client whose token is bad is told (RFC 7628, 3.2.2).
    pub openid_configuration: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            jwks_file: None,
            jwks_url: None,
            introspection_url: None,
            client_id: None,
            client_secret_file: None,
            issuer: None,
            audience: None,
            claim: "email".into(),
            scope: None,
            leeway: Seconds::new(30),
            timeout: Seconds::new(3),
            openid_configuration: None,
        }
    }
}

impl Settings {
    /// Whether anything can say whether a token is good.
    pub fn is_set(&self) -> bool {
        self.jwks_file.is_some() || self.jwks_url.is_some() || self.introspection_url.is_some()
    }

    /// # Errors
    /// The key that is wrong, and why.
    pub fn validate(&self) -> Result<(), String> {
        let sources = [self.jwks_file.is_some(), self.jwks_url.is_some(), self.introspection_url.is_some()];
        if sources.iter().filter(|is_set| **is_set).count() > 1 {
            return Err("oauth: only one of \"jwks-file\", \"jwks-url\" and \"introspection-url\" can say whether a token is good".into());
        }
        if (sources[0] || sources[1]) && (self.issuer.is_none() || self.audience.is_none()) {
            return Err("oauth: keys need \"issuer\" and \"audience\": a token for another service must not open mailboxes".into());
        }
        for (key, url) in [("jwks-url", &self.jwks_url), ("introspection-url", &self.introspection_url)] {
            if let Some(url) = url {
                check_url(url).map_err(|reason| format!("oauth.{key} = \"{url}\": {reason}"))?;
            }
        }
        if self.timeout.0 > MAX_TIMEOUT {
            return Err(format!("oauth.timeout = \"{}\" is too long: at most {MAX_TIMEOUT:?}", self.timeout));
        }
        if self.leeway.0 > MAX_LEEWAY {
            return Err(format!("oauth.leeway = \"{}\" is too long: at most {MAX_LEEWAY:?}", self.leeway));
        }
        if self.claim.is_empty() {
            return Err("oauth.claim is empty; such as \"email\" or \"preferred_username\"".into());
        }
        Ok(())
    }
}

/// What became of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is good, and this login's.
    Owner(String),
    /// It is not; the text is for the log.
    Bad(&'static str),
}

/// Who says whether tokens are good.
#[derive(Debug)]
pub struct Tokens {
    settings: Settings,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Keys(Keys),
    Issuer(Introspection),
}

impl Tokens {
    /// By the settings; `None` where nothing is set.
    ///
    /// # Errors
    /// A file that cannot be read, or TLS that cannot be set up; a sentence.
    pub fn new(settings: &Settings) -> Result<Option<Self>, String> {
        let source = match (&settings.jwks_file, &settings.jwks_url, &settings.introspection_url) {
            (Some(path), _, _) => Source::Keys(Keys::in_file(path)?),
            (_, Some(url), _) => Source::Keys(Keys::at(url.clone(), client(settings.timeout.0)?)),
            (_, _, Some(url)) => {
                Source::Issuer(Introspection::new(url.clone(), client(settings.timeout.0)?, settings)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { settings: settings.clone(), source }))
    }

    /// Whose a token is.
    pub async fn owner(&self, token: &Secret) -> Lookup<Ownership> {
        let claims = match &self.source {
            Source::Keys(keys) => jwt_claims(keys, token.expose()).await,
            Source::Issuer(issuer) => issuer.claims(token).await,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        claims.map(|claims| {
            claims.and_then(|claims| self.owner_in(&claims, now)).unwrap_or_else(Ownership::Bad)
        })
    }

    /// What a client whose token is bad is told.
    pub fn complaint(&self) -> String {
        let mut object = Map::new();
        object.insert("status".into(), "invalid_token".into());
        if let Some(scope) = &self.settings.scope {
            object.insert("scope".into(), scope.as_str().into());
        }
        if let Some(url) = &self.settings.openid_configuration {
            object.insert("openid-configuration".into(), url.as_str().into());
        }
        Value::Object(object).to_string()
    }

    /// Judges the claims of a token that is genuine (RFC 7519, 4.1; RFC 7662, 2.2).
    fn owner_in(&self, claims: &Map<String, Value>, now: u64) -> Result<Ownership, &'static str> {
        let settings = &self.settings;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        // Whole seconds; some issuers write a fraction. Signs and nonsense are no time.
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => {
                let seconds = value.as_u64().map_or_else(|| value.as_f64(), |whole| Some(whole as f64));
                seconds.filter(|seconds| *seconds >= 0.0).map(Some).ok_or("a time that is none")
            }
        };
        if settings.issuer.is_some() && text("iss") != settings.issuer.as_deref() {
            return Err("another issuer");
        }
        if let Some(wanted) = settings.audience.as_deref() {
            let is_for_us = match claims.get("aud") {
                Some(Value::String(audience)) => audience == wanted,
                Some(Value::Array(list)) => list.iter().any(|audience| audience.as_str() == Some(wanted)),
                _ => false,
            };
            if !is_for_us {
                return Err("another audience");
            }
        }
        let (now, leeway) = (now as f64, settings.leeway.0.as_secs_f64());
        match (time("exp")?, &self.source) {
            (Some(end), _) if now >= end + leeway => return Err("expired"),
            (None, Source::Keys(_)) => return Err("no end (exp)"),
            _ => {}
        }
        if time("nbf")?.is_some_and(|begin| begin > now + leeway) {
            return Err("not valid yet");
        }
        if let Some(wanted) = settings.scope.as_deref() {
            let scopes = text("scope").unwrap_or_default();
            if !wanted.split(' ').all(|scope| scopes.split(' ').any(|given| given == scope)) {
                return Err("not the scope");
            }
        }
        // Whoever registers at an issuer may type any address; only a verified one is his.
        if settings.claim == "email"
            && claims.get("email_verified").is_some_and(|value| *value != Value::Bool(true))
        {
            return Err("an address that is not verified");
        }
        match text(&settings.claim) {
            Some(login) if !login.is_empty() => Ok(Ownership::Owner(login.to_owned())),
            _ => Err("no login in the claim"),
        }
    }
}

/// The claims of a JWT whose signature holds.
async fn jwt_claims(keys: &Keys, token: &str) -> Lookup<Result<Map<String, Value>, &'static str>> {
    let read = match jwt::Jwt::parse(token) {
        Ok(read) => read,
        Err(why) => return Lookup::Found(Err(why)),
    };
    let set = match keys.present().await {
        Lookup::Found(set) => set,
        other => return other.map(|_| Err("")),
    };
    match read.verify(&set) {
        // The issuer may have a new key since.
        Err(jwt::Unverified::NoKey) => match keys.newer().await {
            Lookup::Found(set) => Lookup::Found(read.verify(&set).map_err(jwt::Unverified::word)),
            other => other.map(|_| Err("")),
        },
        verified => Lookup::Found(verified.map_err(jwt::Unverified::word)),
    }
}

/// A client that asks exactly where it is told, and for so long.
fn client(timeout: Duration) -> Result<Client, String> {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .no_proxy()
        .user_agent(concat!("gatepost/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("oauth: no HTTP client: {error}"))
}

/// The whole body of an answer, at most [`MAX_BODY`] bytes.
async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            return Err(format!("an answer of more than {MAX_BODY} bytes"));
        }
    }
    Ok(body)
}

/// Tokens and keys must not travel in the clear.
fn check_url(url: &str) -> Result<(), String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => {
            Err("http only on this host's loopback device, such as http://127.0.0.1:8080/…; https elsewhere"
                .into())
        }
        _ => Err("expected https://… or http://127.0.0.1…".into()),
    }
}

/// With the lookup before and after it still within what Postfix waits (10 s).
const MAX_TIMEOUT: Duration = Duration::from_secs(6);
/// Beyond it, an end is none.
const MAX_LEEWAY: Duration = Duration::from_secs(600);
/// A set of keys with certificates takes some 20 KiB.
const MAX_BODY: usize = 256 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn tokens(settings: Settings) -> Tokens {
        let source =
            Source::Keys(Keys::at("http://127.0.0.1:1/".into(), client(Duration::from_secs(1)).unwrap()));
        Tokens { settings, source }
    }

    fn settings() -> Settings {
        Settings {
            issuer: Some("https://id.example".into()),
            audience: Some("mail".into()),
            ..Settings::default()
        }
    }

    fn judge(
        tokens: &Tokens,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Ownership, &'static str> {
        let claims = json!({"iss": "https://id.example", "aud": "mail", "exp": NOW + 60, "email": "alice@example.com"});
        let mut claims = claims.as_object().unwrap().clone();
        change(&mut claims);
        tokens.owner_in(&claims, NOW)
    }

    #[test]
    fn every_claim_counts() {
        gatepost::daemon::install_crypto();
        let tokens = tokens(settings());
        let alice = Ok(Ownership::Owner("alice@example.com".into()));
        let set = |name: &'static str, value: Value| {
            judge(&tokens, move |claims| drop(claims.insert(name.into(), value)))
        };
        let without = |name: &str| judge(&tokens, |claims| drop(claims.remove(name)));
        assert_eq!(judge(&tokens, |_| {}), alice);
        assert_eq!(set("iss", "https://id.example/".into()), Err("another issuer"));
        assert_eq!(without("iss"), Err("another issuer"));
        assert_eq!(set("aud", json!(["x", "mail"])), alice);
        for other in [json!("other"), json!(["x"]), json!([]), json!(5), json!({"mail": 1})] {
            assert_eq!(set("aud", other), Err("another audience"));
        }
        assert_eq!(without("aud"), Err("another audience"));
        assert_eq!(set("exp", json!(NOW - 29)), alice);
        assert_eq!(set("exp", json!(NOW - 30)), Err("expired"));
        assert_eq!(set("exp", json!(NOW as f64 + 0.5)), alice);
        for none in [json!("1900000000"), json!(-1), Value::Null, json!([])] {
            assert_eq!(set("exp", none), Err("a time that is none"));
        }
        assert_eq!(without("exp"), Err("no end (exp)"));
        assert_eq!(set("nbf", json!(NOW + 30)), alice);
        assert_eq!(set("nbf", json!(NOW + 31)), Err("not valid yet"));
        assert_eq!(set("email_verified", json!(true)), alice);
        assert_eq!(set("email_verified", json!(false)), Err("an address that is not verified"));
        assert_eq!(set("email_verified", json!("true")), Err("an address that is not verified"));
        for none in [json!(""), json!(5), Value::Null, json!(["a@b"])] {
            assert_eq!(set("email", none), Err("no login in the claim"));
        }
        let tokens =
            self::tokens(Settings { scope: Some("imap smtp".into()), claim: "login".into(), ..settings() });
        let scoped = |scope: &'static str| {
            judge(&tokens, move |claims| {
                claims.insert("scope".into(), scope.into());
                claims.insert("login".into(), "bob@example.com".into());
            })
        };
        assert_eq!(scoped("smtp openid imap"), Ok(Ownership::Owner("bob@example.com".into())));
        assert_eq!(scoped("imap"), Err("not the scope"));
        assert_eq!(scoped("imapx smtp"), Err("not the scope"));
    }

    #[test]
    fn settings_that_cannot_be_meant_are_named() {
        let set = |change: fn(&mut Settings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.validate()
        };
        assert_eq!(set(|s| s.jwks_url = Some("https://id.example/certs".into())), Ok(()));
        assert_eq!(set(|s| s.introspection_url = Some("http://[::1]:80/i".into())), Ok(()));
        assert_eq!(set(|s| s.introspection_url = Some("http://localhost/i".into())), Ok(()));
        for (change, sentence) in [
            (
                (|s| s.jwks_url = Some("http://id.example/".into())) as fn(&mut Settings),
                "http only on this host's loopback",
            ),
            (
                |s| s.jwks_url = Some("http://127.0.0.1.evil.example/".into()),
                "http only on this host's loopback",
            ),
            (|s| s.jwks_url = Some("file:///etc/passwd".into()), "expected https://"),
            (|s| s.jwks_url = Some("certs".into()), "relative URL"),
            (
                |s| (s.jwks_file, s.issuer) = (Some("/x".into()), None),
                "keys need \"issuer\" and \"audience\"",
            ),
            (
                |s| (s.jwks_file, s.introspection_url) = (Some("/x".into()), Some("https://x/".into())),
                "only one of",
            ),
            (|s| s.timeout = Seconds::new(7), "oauth.timeout = \"7s\" is too long"),
            (|s| s.leeway = Seconds::new(601), "is too long"),
            (|s| s.claim.clear(), "oauth.claim is empty"),
        ] {
            assert!(set(change).unwrap_err().contains(sentence), "{sentence}: {:?}", set(change));
        }
    }
}
