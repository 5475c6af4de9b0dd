//! The cookie that the running node has, read where it runs: from the command line that a release's
//! script has put it on, from its environment, or from the file in its home. For a cookie that no
//! spec leads to; it takes the right to run commands in the pod, so it is done when asked for only.

use super::Cookie;
use crate::{
    Error,
    cluster::Cluster,
    link::{
        Protocol,
        exec::{self, Error as ExecError},
    },
};

/// One line for each VM: its name, which may be empty, a blank, and the cookie. Everything else of
/// the environment stays in the pod. `sh`, `cat`, `sed`, `tail` and `tr`, as any image with a shell has them.
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

/// The cookie of the node in the container; of several the one with that name.
///
/// # Errors
/// [`Error::Cluster`] where commands may not be run there, [`Error::NoCookieThere`] for the rest.
pub async fn read(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    node: &str,
    protocol: Protocol,
) -> Result<Cookie, Error> {
    let output = exec::output(cluster, pod, container, &["sh", "-c", SCRIPT], protocol).await;
    let output = output.map_err(|error| match error {
        ExecError::Cluster(error) => Error::Cluster(error),
        ExecError::Failed(problem) => Error::NoCookieThere { pod: pod.into(), problem },
    })?;
    let cookie = pick(&String::from_utf8_lossy(&output), node)
        .and_then(|value| super::cookie(value.into(), format!("the process in {container}")));
    cookie.ok_or_else(|| Error::NoCookieThere {
        pod: pod.into(),
        problem: format!("no VM with a cookie runs in container {container}"),
    })
}

fn pick(output: &str, node: &str) -> Option<String> {
    let lines = output.lines().filter_map(|line| line.split_once(' '));
    let with_cookie = lines.filter(|(_, cookie)| !cookie.is_empty()).collect::<Vec<_>>();
    let local = |name: &str| name.split('@').next().unwrap_or_default().to_owned();
    let named = with_cookie.iter().find(|(name, _)| local(name) == local(node));
    // A node may have got its name later than its command line.
    named.or(with_cookie.first()).map(|(_, cookie)| (*cookie).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_vms_the_one_of_that_name_counts() {
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
