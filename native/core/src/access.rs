//! Access to an API server: from a kubeconfig to a client that sends requests as its user.

pub mod auth;
pub mod cluster;
pub mod environment;
pub(crate) mod files;
mod http;
pub mod kubeconfig;
pub mod proxy;
pub(crate) mod tls;
mod yaml;
