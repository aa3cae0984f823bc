//! Asking the issuer about a token (RFC 7662): one POST, answered by JSON whose `active` decides.

use gatepost::config::{Secret, read_secret_file};
use gatepost::directory::Lookup;
use reqwest::{Client, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::Settings;

/// The issuer.
#[derive(Debug)]
pub struct Introspection {
    url: String,
    client: Client,
    identity: Option<(String, Secret)>,
    at_once: Semaphore,
}

impl Introspection {
    /// # Errors
    /// The file with the secret; a sentence.
    pub(super) fn new(url: String, client: Client, settings: &Settings) -> Result<Self, String> {
        let identity = match (&settings.client_id, &settings.client_secret_file) {
            (Some(id), Some(file)) => Some((
                id.clone(),
                read_secret_file(file).map_err(|error| format!("oauth.client-secret-file: {error}"))?,
            )),
            (None, None) => None,
            _ => return Err("oauth: \"client-id\" and \"client-secret-file\" go together".into()),
        };
        Ok(Self { url, client, identity, at_once: Semaphore::new(AT_ONCE) })
    }

    /// What the issuer says of a token; for the log why it is not good.
    pub(super) async fn claims(&self, token: &Secret) -> Lookup<Result<Map<String, Value>, &'static str>> {
        let Ok(_permit) = self.at_once.try_acquire() else {
            return Lookup::Unavailable(format!("{AT_ONCE} tokens are being asked about"));
        };
        let unavailable = |why: String| Lookup::Unavailable(format!("oauth.introspection-url: {why}"));
        // Every character of a token stands for itself in a form but these (RFC 6749, appendix B).
        let escaped =
            token.expose().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace('~', "%7E");
        let mut request = self
            .client
            .post(&self.url)
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={escaped}&token_type_hint=access_token"));
        if let Some((id, secret)) = &self.identity {
            request = request.basic_auth(id, Some(secret.expose()));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return unavailable(error.without_url().to_string()),
        };
        match response.status() {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => {
                return Lookup::Misconfigured(format!(
                    "oauth.introspection-url: HTTP status {status}; are the URL, client-id and the secret right?"
                ));
            }
            status => return unavailable(format!("HTTP status {status}")),
        }
        let body = match super::body(response).await {
            Ok(body) => body,
            Err(why) => return unavailable(why),
        };
        match serde_json::from_slice(&body) {
            Ok(Value::Object(claims)) if claims.get("active") == Some(&Value::Bool(true)) => {
                Lookup::Found(Ok(claims))
            }
            Ok(Value::Object(claims)) if claims.get("active") == Some(&Value::Bool(false)) => {
                Lookup::Found(Err("not active"))
            }
            _ => unavailable("an answer without \"active\"".into()),
        }
    }
}

/// Further ones are told to try later.
const AT_ONCE: usize = 64;
