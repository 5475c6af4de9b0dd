//! The Kubernetes side of `k8s_connect`, without the BEAM. Each module uses only the ones before it:
//!
//! - [`access`]: kubeconfig, proxy, credentials, and the client for the API server;
//! - [`streaming`]: streams to a pod over an upgraded connection (SPDY or WebSocket);
//! - [`pod`]: the target pod, its container, its cookie, and the certificates of its distribution;
//! - [`port_forward`]: TCP connections to ports of a pod;
//! - [`node`]: epmd and the distribution handshake of the Erlang node in the pod;
//! - [`listing`]: pods as `kubectl get pods` shows them, and the nodes to which their specs lead;
//! - [`endpoint`]: the local sockets that the BEAM connects to;
//! - [`attach`]: all of it in one call, and [`diagnosis`]: the same, one check at a time.
//!
//! [`command`] runs a local command, independent of the rest.
//!
//! Nothing here reads the environment of the process, prints, or panics. The caller passes its
//! environment in, and every failure is a value.

pub mod access;
pub mod attach;
#[cfg(target_os = "linux")]
pub mod command;
pub mod diagnosis;
pub mod endpoint;
mod error;
mod error_chain;
pub mod listing;
pub mod node;
mod node_name;
pub mod pod;
pub mod port_forward;
mod shared_map;
mod spawn;
pub mod streaming;
mod text;

pub use error::Error;
