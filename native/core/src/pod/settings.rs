//! What a container sets for its VM: options on the command line and in variables, cookies, and references to
//! variables.

use k8s_openapi::api::core::v1::Container;

/// How the name of a variable for options of the VM ends, such as `ELIXIR_ERL_OPTIONS` or
/// `RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS`.
const OPTION_VARIABLES: [&str; 7] =
    ["ERL_AFLAGS", "ERL_FLAGS", "ERL_ZFLAGS", "ERL_OPTIONS", "ERL_OPTS", "ERL_ARGS", "ERLANG_OPTS"];

/// Names that mean a cookie, the best first.
const NAMES: [&str; 2] = ["RELEASE_COOKIE", "ERLANG_COOKIE"];

/// What the name of a product's variable ends in: `COUCHDB_ERLANG_COOKIE`, `EMQX_NODE__COOKIE`,
/// `DOCKER_VERNEMQ_DISTRIBUTED_COOKIE`. Another name that ends in `COOKIE` may be that of a web cookie.
const ENDINGS: [&str; 7] = [
    "ERLANG_COOKIE",
    "ERL_COOKIE",
    "RELEASE_COOKIE",
    "NODE_COOKIE",
    "NODE__COOKIE",
    "DISTRIBUTED_COOKIE",
    "LIVEBOOK_COOKIE",
];

/// A part of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// A variable.
    Reference(String),
}

/// A text with options of the VM.
pub(crate) struct OptionText {
    /// Where it is, for people.
    pub place: String,
    /// References in it are not replaced.
    pub words: Vec<String>,
}

/// Whether a variable of that name has options of the VM.
pub(crate) fn is_option_variable(name: &str) -> bool {
    OPTION_VARIABLES.iter().any(|ending| name.ends_with(ending))
}

/// The command line, and the variables for options whose value is in the spec.
pub(crate) fn option_texts(container: &Container) -> impl Iterator<Item = OptionText> {
    let command_line = container.command.iter().chain(&container.args).flatten();
    let words_of_line = command_line.flat_map(|text| words(text)).collect();
    let command_line = OptionText { place: "the command line".into(), words: words_of_line };
    let variables = container.env.iter().flatten().filter(|var| is_option_variable(&var.name));
    let variables = variables.filter_map(|var| {
        Some(OptionText { place: var.name.clone(), words: words(var.value.as_deref()?).collect() })
    });
    std::iter::once(command_line).chain(variables)
}

/// The words of a line, without the quotes of a shell around them.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';']).to_owned())
}

/// The last of these options that has a value: the option and the value.
pub(crate) fn option_value<'a>(
    words: &'a [String],
    options: &[&str],
) -> Option<(&'a str, &'a str)> {
    let at = words.iter().rposition(|word| options.contains(&word.as_str()))?;
    let value = words.get(at + 1).filter(|value| !value.is_empty())?;
    Some((&words[at], value))
}

/// The value after one of these options in a text.
pub(crate) fn option_in(text: &str, options: &[&str]) -> Option<String> {
    let words = words(text).collect::<Vec<_>>();
    option_value(&words, options).map(|(_, value)| value.to_owned())
}

/// Splits a value at its references: `$(NAME)` as the kubelet replaces it, and with `shell` also `$NAME` and
/// `${NAME}`. `$$(NAME)` is no reference.
pub(crate) fn pieces(value: &str, shell: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut text, mut rest) = (String::new(), value);
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        match reference(rest, shell) {
            Some((name, after)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Reference(name.into()));
                rest = after;
            }
            None => text.push('$'),
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// The name after a `$`, and what is behind it.
fn reference(rest: &str, shell: bool) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(inner) = rest.strip_prefix('(') {
        let (name, after) = inner.split_once(')')?;
        return (!name.is_empty() && name.chars().all(|c| is_name(c) || "-.".contains(c)))
            .then_some((name, after));
    }
    if !shell {
        return None;
    }
    if let Some(inner) = rest.strip_prefix('{') {
        let (name, after) = inner.split_once('}')?;
        return (!name.is_empty() && name.chars().all(is_name)).then_some((name, after));
    }
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    (end > 0 && !rest.starts_with(|c: char| c.is_ascii_digit())).then(|| rest.split_at(end))
}

/// The rank of a name of the products.
pub(crate) const WELL_KNOWN: usize = NAMES.len();
/// The rank of any other name that ends in `COOKIE`.
pub(crate) const ANY: usize = WELL_KNOWN + 1;

/// The lower the better; `None` for names that mean something else.
pub(crate) fn rank(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let exact = NAMES.iter().position(|known| *known == name);
    let known = || ENDINGS.iter().any(|ending| upper.ends_with(ending)).then_some(WELL_KNOWN);
    exact.or_else(known).or_else(|| is_cookie(name).then_some(ANY))
}

/// Whether a variable of that name may hold a cookie.
pub(crate) fn is_cookie(name: &str) -> bool {
    name.to_ascii_uppercase().ends_with("COOKIE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_the_kubelet_and_of_a_shell() {
        let text = |text: &str| Piece::Text(text.into());
        let name = |name: &str| Piece::Reference(name.into());
        assert_eq!(pieces("a@$(IP)-x", false), [text("a@"), name("IP"), text("-x")]);
        assert_eq!(pieces("$(A)$(B)", false), [name("A"), name("B")]);
        assert_eq!(pieces("a@$IP", false), [text("a@$IP")]);
        assert_eq!(pieces("a@$IP.x", true), [text("a@"), name("IP"), text(".x")]);
        assert_eq!(pieces("a@${IP}x", true), [text("a@"), name("IP"), text("x")]);
        for plain in ["$(hostname -i)", "$(", "$(A", "$()", "${A", "$", "5$", "$1"] {
            assert_eq!(pieces(plain, true), [text(plain)], "{plain}");
        }
        assert_eq!(pieces("$$(A)", false), [text("$(A)")]);
        assert_eq!(pieces("", true), []);
    }

    #[test]
    fn the_last_option_with_a_value_counts() {
        let value = |text: &str| option_in(text, &["-setcookie", "--cookie"]);
        assert_eq!(value("erl -setcookie a -setcookie b").as_deref(), Some("b"));
        assert_eq!(value("exec erl -setcookie 'a b'").as_deref(), Some("a"));
        assert_eq!(value("iex --cookie \"$C\"; true").as_deref(), Some("$C"));
        assert_eq!(value("erl -setcookie"), None);
        assert_eq!(value("erl -name x"), None);
    }
}
