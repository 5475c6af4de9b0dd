//! The auth provider `oidc`: an id token, and a refresh token for the next one. Where the issuer rotates
//! refresh tokens, the one in the kubeconfig is worthless after its first use. The new one is kept as
//! long as the VM runs, and nowhere else.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use form_urlencoded::Serializer;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{Instrument, Span, instrument::WithSubscriber};

use super::{
    Error,
    credentials::{bearer, secret_header},
    expiry::{RecentFailure, is_valid},
};
use crate::{
    access::{
        environment::Environment,
        files,
        http::{self as http_client, HttpClient},
        proxy::Proxy,
        tls,
    },
    shared_map::SharedMap,
    text::printable,
};

/// How long a refresh may take, with or without a waiting caller.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);
/// More than any answer of an issuer.
const MAX_ANSWER: usize = 1024 * 1024;
/// Of an error code in an answer.
const MAX_ERROR_CODE: usize = 100;

/// The tokens by the settings in the kubeconfig. None may be dropped: a rotated refresh token is nowhere
/// else.
static TOKENS: SharedMap<Vec<(String, String)>, Arc<Mutex<Tokens>>> = SharedMap::new(usize::MAX);

/// A user who logs in with an issuer's tokens.
#[derive(Clone)]
pub(crate) struct Oidc {
    context: String,
    settings: BTreeMap<String, String>,
    environment: Environment,
    tokens: Arc<Mutex<Tokens>>,
}

#[derive(Default)]
struct Tokens {
    id_token: Option<String>,
    refresh_token: Option<String>,
    /// With the digest of the environment, which configures the proxy.
    failure: (u64, RecentFailure),
}

impl Oidc {
    pub fn new(
        context: &str,
        settings: &BTreeMap<String, String>,
        environment: &Environment,
    ) -> Self {
        let filled = |name: &str| settings.get(name).filter(|value| !value.is_empty()).cloned();
        // All settings, so that a correction counts at once.
        let key: Vec<_> = settings.clone().into_iter().collect();
        let tokens = || {
            let (id_token, refresh_token) = (filled("id-token"), filled("refresh-token"));
            Arc::new(Mutex::new(Tokens { id_token, refresh_token, ..Tokens::default() }))
        };
        Self {
            context: context.into(),
            settings: settings.clone(),
            environment: environment.clone(),
            tokens: TOKENS.get_or_insert_with(key, tokens),
        }
    }

    /// A valid token. One caller asks the issuer; the others wait for its answer, none longer than the
    /// limit.
    pub async fn token(&self, limit: Duration) -> Result<HeaderValue, Error> {
        let late = |_| self.failed(&format!("no answer within {} ms", limit.as_millis()));
        tokio::time::timeout(limit, self.get()).await.map_err(late)?
    }

    async fn get(&self) -> Result<HeaderValue, Error> {
        let tokens = self.tokens.clone().lock_owned().await;
        if let Some(token) = tokens.id_token.as_deref().filter(|token| is_unexpired(token)) {
            return bearer(token)
                .ok_or_else(|| self.failed("its id-token has a control character"));
        }
        if tokens.failure.0 == self.environment.digest()
            && let Some(failure) = tokens.failure.1.get()
        {
            return Err(failure);
        }
        // In a task of its own: a caller that stops waiting must not lose the new refresh token, which
        // the issuer gives only once.
        let refresh = self.clone().refresh_in_time(tokens);
        let refresh = refresh.instrument(Span::current()).with_current_subscriber();
        let refreshed = tokio::spawn(refresh).await;
        refreshed.unwrap_or_else(|_| Err(self.failed("internal error")))
    }

    async fn refresh_in_time(
        self,
        mut tokens: OwnedMutexGuard<Tokens>,
    ) -> Result<HeaderValue, Error> {
        let refresh = tokio::time::timeout(REFRESH_TIMEOUT, self.refresh(&mut tokens));
        let seconds = REFRESH_TIMEOUT.as_secs();
        let late = |_| Err(self.failed(&format!("timed out after {seconds} s")));
        let refreshed = refresh.await.unwrap_or_else(late);
        tokens.failure.0 = self.environment.digest();
        tokens.failure.1.set(&refreshed);
        refreshed
    }

    async fn refresh(&self, tokens: &mut Tokens) -> Result<HeaderValue, Error> {
        let Some(refresh_token) = tokens.refresh_token.clone() else {
            return Err(self.failed("the id-token has expired, and there is no refresh-token"));
        };
        let issuer = self.setting("idp-issuer-url");
        let http = self.http(issuer).await?;
        let well_known =
            format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let request = Request::get(well_known).body(Body::empty());
        let (_, metadata) = self.ask(&http, request).await?;
        let endpoint = metadata["token_endpoint"].as_str();
        let endpoint = endpoint.ok_or_else(|| self.failed("it names no token_endpoint"))?;
        if issuer.starts_with("https:") && !endpoint.starts_with("https:") {
            return Err(self.failed("its token_endpoint is not spoken to by TLS"));
        }
        let answer = self.ask_for_token(&http, endpoint, &refresh_token).await?;
        if let Some(next) = answer["refresh_token"].as_str() {
            tokens.refresh_token = Some(next.into());
        }
        let token = answer["id_token"].as_str();
        let token = token.ok_or_else(|| self.failed("its answer has no id_token"))?;
        tokens.id_token = Some(token.into());
        bearer(token).ok_or_else(|| self.failed("its id_token has a control character"))
    }

    /// Issuers differ in where they accept the client secret. First as RFC 6749 has it, in the header.
    async fn ask_for_token(
        &self,
        http: &HttpClient,
        endpoint: &str,
        refresh_token: &str,
    ) -> Result<Value, Error> {
        let mut problem = String::new();
        for in_header in [true, false] {
            let request = self.token_request(endpoint, refresh_token, in_header);
            let (code, answer) = self.ask(http, request).await?;
            if code.is_success() {
                return Ok(answer);
            }
            let reason = answer["error"].as_str().unwrap_or_default();
            let reason = printable(reason, MAX_ERROR_CODE);
            problem = format!("it answers {} {reason}", code.as_u16());
        }
        Err(self.failed(problem.trim_end()))
    }

    fn token_request(
        &self,
        endpoint: &str,
        refresh_token: &str,
        in_header: bool,
    ) -> http::Result<Request<Body>> {
        let (id, secret) = (self.setting("client-id"), self.setting("client-secret"));
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh_token);
        let mut request = Request::post(endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if in_header && !secret.is_empty() {
            let encoded = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let both = BASE64_STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
            if let Some(value) = secret_header(&format!("Basic {both}")) {
                request = request.header(header::AUTHORIZATION, value);
            }
        } else {
            form.append_pair("client_id", id);
            if !secret.is_empty() {
                form.append_pair("client_secret", secret);
            }
        }
        request.body(form.finish().into_bytes().into())
    }

    async fn ask(
        &self,
        http: &HttpClient,
        request: http::Result<Request<Body>>,
    ) -> Result<(http::StatusCode, Value), Error> {
        let request = request.map_err(|_| self.failed("it is not a URL"))?;
        let lost = |error: &dyn std::fmt::Display| self.failed(&error.to_string());
        let answer = http.request(request).await.map_err(|error| lost(&tls::cause(&error)))?;
        let code = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| lost(&error))?.to_bytes();
        Ok((code, serde_json::from_slice(&body).unwrap_or_default()))
    }

    async fn http(&self, issuer: &str) -> Result<HttpClient, Error> {
        let uri: Uri = issuer.parse().map_err(|_| self.failed("idp-issuer-url is not a URL"))?;
        let proxy = Proxy::choose(None, &uri, &self.environment)
            .map_err(|invalid| self.failed(&format!("{}: {}", invalid.from, invalid.problem)))?;
        let mut config = kube::Config::new(uri);
        config.root_cert = self.authority().await?;
        http_client::client(&config, proxy.as_ref())
            .map_err(|error| self.failed(&error.to_string()))
    }

    /// The authority of the issuer's certificate, where it is not one of the system's.
    async fn authority(&self) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let bad = || self.failed("its idp-certificate-authority cannot be read");
        let (data, file) = (
            self.setting("idp-certificate-authority-data"),
            self.setting("idp-certificate-authority"),
        );
        let pem = match (data, file) {
            ("", "") => return Ok(None),
            ("", file) => files::read(Path::new(file)).await.map_err(|_| bad())?,
            (data, _) => BASE64_STANDARD.decode(data).map_err(|_| bad())?,
        };
        Ok(Some(tls::certificates(&pem)))
    }

    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    fn failed(&self, problem: &str) -> Error {
        Error::Oidc {
            context: self.context.clone(),
            issuer: self.setting("idp-issuer-url").into(),
            problem: problem.into(),
        }
    }
}

/// Whether the token is still valid by its own `exp`. Only the API server verifies the token.
fn is_unexpired(token: &str) -> bool {
    let claims = token.split('.').nth(1).and_then(|part| {
        let part = BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Value>(&part).ok()
    });
    let expires = claims.and_then(|claims| claims["exp"].as_i64());
    expires.and_then(|expires| Timestamp::from_second(expires).ok()).is_some_and(is_valid)
}

#[cfg(test)]
mod tests;
