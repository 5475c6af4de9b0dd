//! The HTTP request that turns a connection to the API server into a link to a pod.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::client::Body;

use super::Link;
use crate::cluster::{Action, Cluster, Error};

const ACTION: Action = Action { verb: "create", resource: "pods/portforward" };

/// Opens a link to the pod. The verb is POST, so `create`, which every version of Kubernetes
/// takes; the request names no ports and needs no pod to have been read first.
///
/// # Errors
/// [`Error`]: 404 where there is no such pod, 400 where it has no node yet.
pub(crate) async fn upgrade(cluster: &Cluster, pod: &str) -> Result<Link, Error> {
    to(cluster, ACTION, pod, "portforward", "portforward.k8s.io").await
}

/// As [`upgrade`], to any subresource of a pod that speaks SPDY, and the protocol above it.
pub(super) async fn to(
    cluster: &Cluster,
    action: Action,
    pod: &str,
    subresource: &str,
    protocol: &str,
) -> Result<Link, Error> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/{subresource}", cluster.namespace());
    cluster.ask(action, request(cluster, &path, protocol)).await
}

async fn request(cluster: &Cluster, path: &str, protocol: &str) -> kube::Result<Link> {
    let request = http::Request::post(path)
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, "SPDY/3.1")
        .header("x-stream-protocol-version", protocol)
        .header(http::header::CONTENT_LENGTH, 0)
        .body(Body::empty())
        .map_err(kube::Error::HttpError)?;
    let mut response = cluster.client.send(request).await?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(response).await);
    }
    let connection = hyper::upgrade::on(&mut response).await.map_err(kube::Error::HyperError)?;
    Ok(Link::new(TokioIo::new(connection)))
}

/// `Client::send` leaves the answer as it is; its other calls would have read the Status.
pub(crate) async fn refusal(response: http::Response<Body>) -> kube::Error {
    let code = response.status();
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let message = serde_json::from_slice::<Status>(&body)
        .ok()
        .and_then(|status| status.message)
        .unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
    kube::Error::Api(Box::new(
        kube::core::Status::failure(&message, code.canonical_reason().unwrap_or_default())
            .with_code(code.as_u16()),
    ))
}
