//! Connections that were closed instead of an answer.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use hyper_util::client::legacy;

use crate::error_chain::chain;

/// Whether a request was sent, and its connection closed before an answer.
pub(crate) fn closed_without_answer(error: &(dyn Error + 'static)) -> bool {
    for error in chain(error) {
        if let Some(error) = error.downcast_ref::<legacy::Error>()
            && error.is_connect()
        {
            return false;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_incomplete_message()
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
            );
        }
    }
    false
}
