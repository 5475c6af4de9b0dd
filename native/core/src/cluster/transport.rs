//! The way of a request: with the user's credentials, once more with new ones where they are not
//! taken, and once more a little later where the server asks for that.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use kube::{
    Client, Config,
    client::{Body, ConfigExt},
};
use secrecy::ExposeSecret;
use tower::{BoxError, ServiceBuilder};
use tracing::Instrument;

use super::connector::{self, Http};
use crate::{
    auth::{Credentials, Identity, Login},
    config::{self, Access},
    proxy::Proxy,
};

/// The open connections to a server, as a user.
pub(super) struct Connections {
    config: Config,
    proxy: Option<Proxy>,
    context: String,
    /// Without a certificate of a plugin.
    plain: Http,
    /// With one, and which: connections of another one are somebody else's.
    identified: Mutex<Option<(u64, Http)>>,
}

impl Connections {
    pub fn new(access: &Access) -> Result<Self, config::Error> {
        let plain = connector::http(&access.config, access.proxy.as_ref())
            .map_err(|error| super::unusable(error, &access.context))?;
        Ok(Self {
            config: access.config.clone(),
            proxy: access.proxy.clone(),
            context: access.context.clone(),
            plain,
            identified: Mutex::new(None),
        })
    }

    fn of(&self, credentials: &Credentials) -> Result<Http, config::Error> {
        let Some(identity) = &credentials.identity else { return Ok(self.plain.clone()) };
        let mut identified = self.identified.lock().unwrap_or_else(PoisonError::into_inner);
        match &*identified {
            Some((generation, http)) if *generation == credentials.generation => Ok(http.clone()),
            _ => {
                let http = connector::http(&with(&self.config, identity), self.proxy.as_ref());
                let http = http.map_err(|error| super::unusable(error, &self.context))?;
                *identified = Some((credentials.generation, http.clone()));
                Ok(http)
            }
        }
    }
}

fn with(config: &Config, identity: &Identity) -> Config {
    let mut config = config.clone();
    let key = BASE64_STANDARD.encode(identity.key.expose_secret());
    config.auth_info.client_certificate_data = Some(BASE64_STANDARD.encode(&identity.certificate));
    config.auth_info.client_key_data = Some(key.into());
    config
}

/// What every request of a client goes through.
pub(super) struct Transport {
    connections: Arc<Connections>,
    login: Arc<Login>,
    /// How long a request may take as a whole; the caller keeps that, and nothing is waited for
    /// that would be later.
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
            .service(tower::service_fn(move |request| {
                let transport = transport.clone();
                async move { transport.send(request).await }
            }));
        Ok(Client::new(service, config.default_namespace.clone()))
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let deadline = Instant::now() + self.timeout;
        let mut next = Some(request);
        loop {
            let Some(request) = next.take() else { return Err("a request was lost".into()) };
            let spare = copy(&request);
            let answer = self.with_login(request).await?;
            let pause = if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                pause(&answer).filter(|pause| {
                    // The server may ask for more than a clock can hold.
                    Instant::now().checked_add(*pause).is_some_and(|then| then < deadline)
                })
            } else {
                None
            };
            match (pause, spare) {
                (Some(pause), Some(spare)) => {
                    tokio::time::sleep(pause).await;
                    next = Some(spare);
                }
                _ => return Ok(answer),
            }
        }
    }

    async fn with_login(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let spare = copy(&request);
        let credentials = self.login.credentials().await?;
        let answer = self.pass(&credentials, request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(spare) = spare
            && let Some(others) = self.login.renew(&credentials).await
        {
            return self.pass(&others?, spare).await;
        }
        Ok(answer)
    }

    async fn pass(
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
        let connections = self.connections.of(credentials)?;
        let answer = connections.request(request).instrument(span.clone()).await?;
        span.record("status", answer.status().as_u16());
        Ok(answer)
    }
}

/// The same request once more; `None` for a body that is only there once, of which we send none.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.version_mut() = request.version();
    Some(copy)
}

/// `Retry-After`, in seconds as the API server gives it; it is not hurried even where it asks for that.
fn pause(answer: &Response<Incoming>) -> Option<Duration> {
    let value: &HeaderValue = answer.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.trim().parse().ok().map(|seconds: u64| Duration::from_secs(seconds.max(1)))
}
