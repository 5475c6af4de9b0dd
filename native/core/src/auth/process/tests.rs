#![allow(clippy::unwrap_used)]

use std::time::Instant;

use super::*;
use std::fs;

const PACE: Duration = Duration::from_millis(5);

fn shell(script: &str) -> Command {
    Command {
        path: SHELL.into(),
        arguments: ["-c", script].map(String::from).into(),
        environment: vec![("PATH".into(), "/bin:/usr/bin".into()), ("A".into(), "b c".into())],
        terminal: false,
    }
}

async fn ran(script: &str) -> Ended {
    run(&shell(script)).await.unwrap()
}

#[tokio::test]
async fn output_words_and_environment() {
    let ended = ran("echo \"$A\"; echo oops >&2; cat").await;
    assert_eq!(ended.output, b"b c\n");
    assert_eq!(ended.words, "oops");
    assert!(ended.failure.is_none());
}

#[tokio::test]
async fn failures() {
    assert_eq!(ran("exit 3").await.failure.unwrap(), "exit code 3");
    assert_eq!(ran("kill -9 $$").await.failure.unwrap(), "exit code 137");
    // The shell itself, whose parent we are.
    assert_eq!(ran("kill -9 $PPID").await.failure.unwrap(), "a signal");
    let nothing = Command { path: "/does/not/exist".into(), ..shell("") };
    assert_eq!(run(&nothing).await.unwrap().failure.unwrap(), "exit code 127");
}

#[tokio::test]
async fn only_three_descriptors_and_no_terminal() {
    // The fourth is the listing's own.
    let ended = ran("ls /proc/self/fd; (: < /dev/tty) 2> /dev/null && echo terminal").await;
    assert_eq!(String::from_utf8_lossy(&ended.output), "0\n1\n2\n3\n");
}

#[tokio::test]
async fn much_of_both_is_no_obstacle() {
    let ended = ran("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end >&2").await;
    assert!(ended.output.len() <= MOST_OUTPUT + 8192);
    assert!(ended.words.ends_with("end") && ended.words.len() <= MOST_WORDS);
}

#[tokio::test]
async fn somebody_else_with_its_pipe_holds_nobody_up() {
    let start = Instant::now();
    let ended = ran("sleep 30 & echo $!").await;
    assert!(start.elapsed() < Duration::from_secs(10));
    let pid = String::from_utf8(ended.output).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn who_stops_waiting_ends_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let script = format!("sleep 60 & echo $! $$ > {}; wait", file.display());
    let command = shell(&script);
    let pids = {
        let mut running = std::pin::pin!(run(&command));
        loop {
            tokio::select! {
                _ = &mut running => unreachable!(),
                () = tokio::time::sleep(PACE) => {}
            }
            let pids = fs::read_to_string(&file).unwrap_or_default();
            if pids.ends_with('\n') {
                break pids;
            }
        }
    };
    for pid in pids.split_whitespace() {
        // The child of the child is nobody's until init has taken note of its end.
        let gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        while !gone() {
            tokio::time::sleep(PACE).await;
        }
    }
}
