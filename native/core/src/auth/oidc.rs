//! The auth provider `oidc`: an id token, and a refresh token for the next one. Where the issuer
//! gives a new refresh token each time, the one in the kubeconfig is worth nothing any more: the
//! new one is kept for as long as the VM runs, and nowhere else.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use form_urlencoded::Serializer;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::BodyExt;
use k8s_openapi::jiff::Timestamp;
use kube::client::Body;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

use super::{Error, bearer, secret_header};
use crate::{
    cluster::{Http, http_client},
    config::Access,
    environment::Environment,
    proxy::Proxy,
};

/// A token is old this long before it expires: a request takes its time.
const MARGIN: i64 = 10;
/// After a failure the issuer is not asked again at once: many may want to.
const QUIET: Duration = Duration::from_secs(5);
/// More than any answer of an issuer.
const MOST: usize = 1024 * 1024;

/// By what the kubeconfig says of them; for as long as the VM runs.
static LOGINS: Mutex<Option<HashMap<u64, Arc<Oidc>>>> = Mutex::new(None);

pub(crate) struct Oidc {
    context: String,
    settings: HashMap<String, String>,
    environment: Environment,
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    id_token: Option<String>,
    refresh_token: Option<String>,
    failure: Option<(Instant, Error)>,
}

/// The login of a user entry.
pub(super) fn of(access: &Access, settings: &HashMap<String, String>) -> Arc<Oidc> {
    let filled = |name: &str| settings.get(name).filter(|value| !value.is_empty()).cloned();
    // All of it: what is corrected counts at once.
    let mut settled: Vec<_> = settings.iter().collect();
    settled.sort();
    let mut hasher = DefaultHasher::new();
    (settled, access.environment.digest()).hash(&mut hasher);
    let entry = hasher.finish();
    let new = || {
        let (id_token, refresh_token) = (filled("id-token"), filled("refresh-token"));
        Arc::new(Oidc {
            context: access.context.clone(),
            settings: settings.clone(),
            environment: access.environment.clone(),
            state: State { id_token, refresh_token, failure: None }.into(),
        })
    };
    let mut logins = LOGINS.lock().unwrap_or_else(PoisonError::into_inner);
    logins.get_or_insert_default().entry(entry).or_insert_with(new).clone()
}

impl Oidc {
    /// One caller asks the issuer, the others wait for its answer, none longer than the limit.
    pub async fn token(&self, limit: Duration) -> Result<HeaderValue, Error> {
        let late = |_| self.failed(&format!("no answer within {} ms", limit.as_millis()));
        tokio::time::timeout(limit, self.get()).await.map_err(late)?
    }

    async fn get(&self) -> Result<HeaderValue, Error> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.id_token.as_deref().filter(|token| is_good(token)) {
            return bearer(token)
                .ok_or_else(|| self.failed("its id-token has a control character"));
        }
        if let Some((at, failure)) = &state.failure
            && at.elapsed() < QUIET
        {
            return Err(failure.clone());
        }
        let refreshed = self.refresh(&mut state).await;
        state.failure = refreshed.as_ref().err().map(|error| (Instant::now(), error.clone()));
        refreshed
    }

    async fn refresh(&self, state: &mut State) -> Result<HeaderValue, Error> {
        let Some(refresh_token) = state.refresh_token.clone() else {
            return Err(self.failed("the id-token has expired, and there is no refresh-token"));
        };
        let issuer = self.setting("idp-issuer-url");
        let http = self.http(issuer)?;
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
            state.refresh_token = Some(next.into());
        }
        let token = answer["id_token"].as_str();
        let token = token.ok_or_else(|| self.failed("its answer has no id_token"))?;
        state.id_token = Some(token.into());
        bearer(token).ok_or_else(|| self.failed("its id_token has a control character"))
    }

    /// Issuers differ in where they take the client's own secret: first as RFC 6749 has it.
    async fn ask_for_token(
        &self,
        http: &Http,
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
            let reason: String = reason.chars().take(100).collect();
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
        http: &Http,
        request: http::Result<Request<Body>>,
    ) -> Result<(http::StatusCode, Value), Error> {
        let request = request.map_err(|_| self.failed("it is not a URL"))?;
        let lost = |error: &dyn std::fmt::Display| self.failed(&error.to_string());
        let answer = http.request(request).await.map_err(|error| lost(&innermost(&error)))?;
        let code = answer.status();
        let body = http_body_util::Limited::new(answer.into_body(), MOST).collect().await;
        let body = body.map_err(|error| lost(&error))?.to_bytes();
        Ok((code, serde_json::from_slice(&body).unwrap_or_default()))
    }

    fn http(&self, issuer: &str) -> Result<Http, Error> {
        let uri: Uri = issuer.parse().map_err(|_| self.failed("idp-issuer-url is not a URL"))?;
        let proxy = Proxy::choose(None, &uri, &self.environment)
            .map_err(|unusable| self.failed(&format!("{}: {}", unusable.from, unusable.problem)))?;
        let mut config = kube::Config::new(uri);
        config.root_cert = self.authority()?;
        http_client(&config, proxy.as_ref()).map_err(|error| self.failed(&error.to_string()))
    }

    /// The authority that the issuer's certificate is from, where it is not one of the system's.
    fn authority(&self) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let bad = || self.failed("its idp-certificate-authority cannot be read");
        let (data, file) = (
            self.setting("idp-certificate-authority-data"),
            self.setting("idp-certificate-authority"),
        );
        let pem = match (data, file) {
            ("", "") => return Ok(None),
            ("", file) => std::fs::read(file).map_err(|_| bad())?,
            (data, _) => BASE64_STANDARD.decode(data).map_err(|_| bad())?,
        };
        let certificates = CertificateDer::pem_slice_iter(&pem);
        let certificates = certificates.map(|certificate| certificate.map(|der| der.to_vec()));
        certificates.collect::<Result<_, _>>().map(Some).map_err(|_| bad())
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

/// Whether the token says that it is still valid. What it says is not checked: that is the server's.
fn is_good(token: &str) -> bool {
    let claims = token.split('.').nth(1).and_then(|part| {
        let part = BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Value>(&part).ok()
    });
    let expires = claims.and_then(|claims| claims["exp"].as_i64());
    expires.is_some_and(|expires| Timestamp::now().as_second() + MARGIN < expires)
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
