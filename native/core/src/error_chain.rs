//! An error and its sources.

use std::{error::Error, io};

/// The error and its sources, outermost first. What an I/O error wraps is included, which
/// `source()` skips.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The message of the innermost source, which says most.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_cause_is_found_inside_of_an_io_error() {
        let inner = io::Error::other("inner");
        let outer = io::Error::new(io::ErrorKind::TimedOut, inner);
        assert_eq!(root_cause(&outer), "inner");
        assert_eq!(chain(&outer).count(), 3);
        assert_eq!(root_cause(&io::Error::from(io::ErrorKind::NotFound)), "entity not found");
    }
}
