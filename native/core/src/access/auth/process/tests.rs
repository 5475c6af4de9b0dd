#![allow(clippy::unwrap_used)]

use std::time::Instant;

use super::*;
use std::fs;

const POLL_INTERVAL: Duration = Duration::from_millis(5);

fn shell(script: &str) -> Command {
    Command {
        path: SHELL.into(),
        arguments: ["-c", script].map(String::from).into(),
        environment: vec![("PATH".into(), "/bin:/usr/bin".into()), ("A".into(), "b c".into())],
        terminal: false,
    }
}

async fn ran(script: &str) -> Finished {
    run(&shell(script)).await.unwrap()
}

#[tokio::test]
async fn stdout_stderr_and_environment() {
    let finished = ran("echo \"$A\"; echo oops >&2; cat").await;
    assert_eq!(finished.stdout, b"b c\n");
    assert_eq!(finished.stderr, "oops");
    assert!(finished.failure.is_none());
}

#[tokio::test]
async fn failures() {
    assert_eq!(ran("exit 3").await.failure.unwrap(), "exit code 3");
    assert_eq!(ran("kill -9 $$").await.failure.unwrap(), "exit code 137");
    // The shell itself, our child.
    assert_eq!(ran("kill -9 $PPID").await.failure.unwrap(), "a signal");
    let nothing = Command { path: "/does/not/exist".into(), ..shell("") };
    assert_eq!(run(&nothing).await.unwrap().failure.unwrap(), "exit code 127");
}

#[tokio::test]
async fn only_three_descriptors_and_no_terminal() {
    // The fourth is of ls itself.
    let finished = ran("ls /proc/self/fd; (: < /dev/tty) 2> /dev/null && echo terminal").await;
    assert_eq!(String::from_utf8_lossy(&finished.stdout), "0\n1\n2\n3\n");
}

#[tokio::test]
async fn much_output_does_not_block_the_program() {
    let finished =
        ran("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo end >&2").await;
    assert!(finished.stdout.len() <= MAX_OUTPUT + 8192);
    assert!(finished.stderr.ends_with("end") && finished.stderr.len() <= MAX_STDERR);
}

#[tokio::test]
async fn a_background_process_with_the_pipe_does_not_delay_the_result() {
    let start = Instant::now();
    let finished = ran("sleep 30 & echo $!").await;
    assert!(start.elapsed() < Duration::from_secs(10));
    let pid = String::from_utf8(finished.stdout).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_caller_that_stops_waiting_kills_the_program_and_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let script = format!("sleep 60 & echo $! $$ > {}; wait", file.display());
    let command = shell(&script);
    let pids = {
        let mut running = std::pin::pin!(run(&command));
        loop {
            tokio::select! {
                _ = &mut running => unreachable!(),
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            let pids = fs::read_to_string(&file).unwrap_or_default();
            if pids.ends_with('\n') {
                break pids;
            }
        }
    };
    for pid in pids.split_whitespace() {
        // The grandchild is a zombie until init reaps it.
        let gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        while !gone() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
