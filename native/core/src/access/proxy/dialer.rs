//! Connects to the server, directly or through the proxy.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tower::{BoxError, Service};
use tracing::Instrument;

use super::{Proxy, ProxyProtocol, socks, stream::Stream, tunnel};
use crate::access::tls;

/// A connector for hyper.
#[derive(Clone)]
pub(crate) struct Dialer {
    direct: HttpConnector,
    /// The proxy, and how to connect to it: with TLS for an HTTPS proxy.
    proxy: Option<(Arc<Proxy>, HttpsConnector<HttpConnector>)>,
}

impl Dialer {
    pub fn direct(direct: HttpConnector) -> Self {
        Self { direct, proxy: None }
    }

    pub fn through(
        proxy: Proxy,
        direct: HttpConnector,
        to_proxy: HttpsConnector<HttpConnector>,
    ) -> Self {
        Self { direct, proxy: Some((Arc::new(proxy), to_proxy)) }
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let to = server.authority().map_or("", |authority| authority.as_str());
        // A URL may have a password in it.
        let to = to.rsplit('@').next().unwrap_or_default();
        match &mut self.proxy {
            None => {
                let span = tracing::debug_span!("tcp", to);
                let dialing = self.direct.call(server);
                let dialing = async move {
                    let stream = TokioIo::new(MaybeHttpsStream::Http(dialing.await?));
                    Ok(TokioIo::new(Stream::new(stream)))
                };
                Box::pin(dialing.instrument(span))
            }
            Some((proxy, to_proxy)) => {
                let span = tracing::debug_span!("tcp", to, proxy = proxy.address());
                Box::pin(through(proxy.clone(), to_proxy.clone(), server).instrument(span))
            }
        }
    }
}

async fn through(
    proxy: Arc<Proxy>,
    mut to_proxy: HttpsConnector<HttpConnector>,
    server: Uri,
) -> Result<TokioIo<Stream>, BoxError> {
    let stream = to_proxy.call(proxy.uri()?).await;
    let stream = stream.map_err(|error| proxy.unreachable(tls::cause(error.as_ref())))?;
    let host = server.host().unwrap_or_default();
    let default = if server.scheme_str() == Some("http") { 80 } else { 443 };
    let port = server.port_u16().unwrap_or(default);
    let mut stream = TokioIo::new(stream);
    match proxy.protocol {
        ProxyProtocol::Socks => socks::through(&mut stream, &proxy, host, port).await?,
        ProxyProtocol::Http | ProxyProtocol::Https => {
            tunnel::through(&mut stream, &proxy, &format!("{host}:{port}")).await?;
        }
    }
    Ok(TokioIo::new(Stream::new(stream)))
}
