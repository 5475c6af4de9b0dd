//! The cookie of the running node, read inside of the container: from the command line of the VM, from its
//! environment, or from the file in its home. Used on request only, as it needs the permission to run
//! commands in the pod.

use thiserror::Error;

use super::Cookie;
use crate::{
    access::cluster::{self, Cluster},
    node_name::local_part,
    pod::exec,
    streaming::Protocol,
};

/// Prints one line for each VM: its name, which may be empty, a space, and the cookie. The rest of the
/// environment stays in the pod. Needs `sh`, `cat`, `sed`, `tail` and `tr`.
const SCRIPT: &str = r#"
for p in /proc/[0-9]*; do
  case $(cat $p/comm 2> /dev/null) in beam*) ;; *) continue ;; esac
  words() { tr '\0' '\n' < $p/$1; }
  name=$(words cmdline | sed -n '/^-s\{0,1\}name$/{n;p;}' | tail -n 1)
  cookie=$(words cmdline | sed -n '/^-setcookie$/{n;p;}' | tail -n 1)
  [ -n "$cookie" ] || cookie=$(words environ | sed -n 's/^RELEASE_COOKIE=//p')
  [ -n "$cookie" ] || cookie=$(cat "$(words environ | sed -n 's/^HOME=//p')/.erlang.cookie")
  printf '%s %s\n' "$name" "$cookie"
done
"#;

/// Why the cookie could not be read.
#[derive(Debug, Error)]
pub enum Error {
    /// The request to the API server failed.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The command failed, or found no cookie.
    #[error("{0}")]
    NoCookie(String),
}

/// The cookie of the node in the container. Of several VMs it is the one with that node name.
///
/// # Errors
/// [`Error`]
pub async fn read(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    node: &str,
    protocol: Protocol,
) -> Result<Cookie, Error> {
    let output = exec::output(cluster, pod, container, &["sh", "-c", SCRIPT], protocol).await;
    let output = output.map_err(|error| match error {
        exec::Error::Cluster(error) => Error::Cluster(error),
        exec::Error::Failed(problem) => Error::NoCookie(problem),
    })?;
    let cookie = pick(&String::from_utf8_lossy(&output), node)
        .and_then(|value| Cookie::new(value.into(), format!("the process in {container}")));
    cookie.ok_or_else(|| {
        Error::NoCookie(format!("no VM with a cookie runs in container {container}"))
    })
}

fn pick(output: &str, node: &str) -> Option<String> {
    let lines = output.lines().filter_map(|line| line.split_once(' '));
    let with_cookie = lines.filter(|(_, cookie)| !cookie.is_empty()).collect::<Vec<_>>();
    let named = with_cookie.iter().find(|(name, _)| local_part(name) == local_part(node));
    // A node may have been named after its start.
    named.or(with_cookie.first()).map(|(_, cookie)| (*cookie).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_vms_the_one_with_that_name_counts() {
        let output = " \napp@10.0.0.1 one\nother two\nempty \n";
        let pick = |node| pick(output, node);
        assert_eq!(pick("app@10.0.0.1").as_deref(), Some("one"));
        assert_eq!(pick("other@host").as_deref(), Some("two"));
        assert_eq!(pick("third@host").as_deref(), Some("one"));
        assert_eq!(super::pick("", "app@h"), None);
        assert_eq!(super::pick("app@h \n", "app@h"), None);
        assert_eq!(super::pick(" c=o o\n", "app@h").as_deref(), Some("c=o o"));
    }
}
