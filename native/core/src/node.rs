//! The Erlang nodes in a pod: which there are, their ports, and their names.

mod discovery;
pub mod epmd;
mod epmd_query;
mod error;
pub mod handshake;
pub mod hints;
pub mod name;
pub mod port;
mod probe;

pub use discovery::{Node, at_known_port, at_port, confirm, discover, registered_names};
pub use error::Error;
pub use hints::{HintReceiver, Hints};
pub use probe::rejection;

#[cfg(test)]
mod tests;
