//! The names of Erlang nodes: `local@host`.

/// A node name is an atom, of at most 255 characters.
const MAX_LENGTH: usize = 255;

/// The part of a name before the host.
pub(crate) fn local_part(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

/// Whether this can be a part of a name, before or after the `@`. Names are shown, and go into
/// commands that are suggested.
pub(crate) fn is_valid_part(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "-_.:[]+~".contains(c))
}

/// The full name of a node; `None` for bytes that cannot be one. It becomes an atom of the VM.
pub(crate) fn parse(name: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(name).ok()?;
    let (local, host) = text.split_once('@')?;
    let valid = is_valid_part(local) && is_valid_part(host) && text.chars().count() <= MAX_LENGTH;
    valid.then(|| text.into())
}
