//! Sends a request with the user's credentials, and retries it: on another connection where an idle one was
//! closed, with new credentials after a 401, and later where the server asks for that (429).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
};
use secrecy::ExposeSecret;
use tower::{BoxError, ServiceBuilder};
use tracing::Instrument;

use super::{closed_without_answer, failure::with_status};
use crate::access::{
    auth::{Credentials, Identity, Login},
    http::{self as http_client, HttpClient},
    kubeconfig::{self, ClientConfig},
    proxy::{Proxy, Used},
};

/// The open connections to a server as one user.
pub(super) struct Connections {
    config: Config,
    proxy: Option<Proxy>,
    context: String,
    /// Without a certificate of a plugin.
    plain: HttpClient,
    /// With the certificate of this run of a plugin. Connections with another one are another user's.
    identified: Mutex<Option<(u64, HttpClient)>>,
}

impl Connections {
    pub fn new(config: &ClientConfig) -> Result<Self, kubeconfig::Error> {
        let plain = http_client::client(&config.kube, config.proxy.as_ref())
            .map_err(|error| super::unusable_tls(error, &config.context))?;
        Ok(Self {
            config: config.kube.clone(),
            proxy: config.proxy.clone(),
            context: config.context.clone(),
            plain,
            identified: Mutex::new(None),
        })
    }

    fn client(&self, credentials: &Credentials) -> Result<HttpClient, kubeconfig::Error> {
        let Some(identity) = &credentials.identity else { return Ok(self.plain.clone()) };
        let mut identified = self.identified.lock().unwrap_or_else(PoisonError::into_inner);
        match &*identified {
            Some((generation, http)) if *generation == credentials.generation => Ok(http.clone()),
            _ => {
                let config = with_identity(&self.config, identity);
                let http = http_client::client(&config, self.proxy.as_ref())
                    .map_err(|error| super::unusable_tls(error, &self.context))?;
                *identified = Some((credentials.generation, http.clone()));
                Ok(http)
            }
        }
    }
}

fn with_identity(config: &Config, identity: &Identity) -> Config {
    let mut config = config.clone();
    let key = BASE64_STANDARD.encode(identity.key.expose_secret());
    config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(&identity.certificate));
    config.auth_info.client_key_data = Some(key.into());
    config
}

/// The service that sends every request of a client.
pub(super) struct Transport {
    connections: Arc<Connections>,
    login: Arc<Login>,
    /// How long a request may take as a whole. The caller enforces it; here it bounds the pauses.
    timeout: Duration,
}

impl Transport {
    pub fn new(connections: Arc<Connections>, login: Arc<Login>, timeout: Duration) -> Self {
        Self { connections, login, timeout }
    }

    /// kube's client over it.
    ///
    /// # Errors
    /// kube's, where the kubeconfig's impersonation cannot be a header.
    pub fn client(self, config: &Config) -> kube::Result<Client> {
        let transport = Arc::new(self);
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .layer(config.extra_headers_layer()?)
            .service(tower::service_fn(move |request: Request<Body>| {
                let transport = transport.clone();
                // What a refused upgrade means depends on who refused it.
                let upgrade = request.headers().contains_key(header::UPGRADE);
                async move {
                    let answer = transport.send(request).await?;
                    let answer = if upgrade {
                        answer.map(Either::Left)
                    } else {
                        with_status(answer).await?
                    };
                    Ok::<_, BoxError>(answer)
                }
            }));
        Ok(Client::new(service, config.default_namespace.clone()))
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let deadline = Instant::now() + self.timeout;
        let mut next = Some(request);
        loop {
            let Some(request) = next.take() else { return Err("a request was lost".into()) };
            let copy = copy(&request);
            let answer = self.authenticated(request).await?;
            let pause = if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                pause(&answer).filter(|pause| {
                    // The server may ask for more than a clock can hold.
                    Instant::now().checked_add(*pause).is_some_and(|then| then < deadline)
                })
            } else {
                None
            };
            match (pause, copy) {
                (Some(pause), Some(copy)) => {
                    tokio::time::sleep(pause).await;
                    next = Some(copy);
                }
                _ => return Ok(answer),
            }
        }
    }

    async fn authenticated(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let copy = copy(&request);
        let credentials = self.login.credentials().await?;
        let answer = self.on_open_connection(&credentials, request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(copy) = copy
            && let Some(others) = self.login.renew(&credentials).await
        {
            return self.on_open_connection(&others?, copy).await;
        }
        Ok(answer)
    }

    /// The server, or a load balancer before it, may have closed an idle connection as we took it. Then
    /// the other idle ones may be closed as well, and only a new one gets an answer.
    async fn on_open_connection(
        &self,
        credentials: &Credentials,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, BoxError> {
        loop {
            let copy = copy(&request).filter(is_repeatable);
            let connection = capture_connection(&mut request);
            let result = self.send_once(credentials, request).await;
            let used = used(&connection);
            match (result, copy) {
                (Err(error), Some(copy))
                    if closed_without_answer(error.as_ref())
                        && used.as_ref().is_some_and(Used::get) =>
                {
                    request = copy;
                }
                (Ok(answer), _) => {
                    if let Some(used) = used {
                        used.set();
                    }
                    return Ok(answer);
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    async fn send_once(
        &self,
        credentials: &Credentials,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, BoxError> {
        if let Some(authorization) = &credentials.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let span = tracing::debug_span!(
            "request",
            method = %request.method(),
            path = request.uri().path(),
            status = tracing::field::Empty
        );
        let connections = self.connections.client(credentials)?;
        let answer = connections.request(request).instrument(span.clone()).await?;
        span.record("status", answer.status().as_u16());
        Ok(answer)
    }
}

/// Whether the connection of a request was used before.
fn used(connection: &CaptureConnection) -> Option<Used> {
    let mut extensions = Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extensions);
    extensions.remove()
}

/// Whether the server may get the request twice. An upgrade without an answer has opened no stream.
fn is_repeatable(request: &Request<Body>) -> bool {
    *request.method() == Method::GET || request.headers().contains_key(header::UPGRADE)
}

/// A copy of the request; `None` for a body that can be read only once, which ours never is.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.version_mut() = request.version();
    Some(copy)
}

/// `Retry-After` in seconds, as the API server sends it. At least one second.
fn pause(answer: &Response<Incoming>) -> Option<Duration> {
    let value: &HeaderValue = answer.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok().map(|seconds: u64| Duration::from_secs(seconds.max(1)))
}
