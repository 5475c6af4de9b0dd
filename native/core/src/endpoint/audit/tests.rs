#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt};

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{
    super::guard::{Asked, Limits},
    *,
};

fn log(path: &Path) -> AuditLog {
    let subject = Subject {
        context: "prod".into(),
        namespace: "shop".into(),
        pod: "app-0".into(),
        node: "app@10.0.0.1".into(),
    };
    let session = Arc::new(Session::new(Limits { atoms: 1, message: 1 }));
    AuditLog { file: Arc::new(AuditFile::open(path).unwrap()), subject, session }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_line_tells_who_asked_what_of_which_pod() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let connection = log(&path).connection();
    let asked = Asked::Call { module: "erlang".into(), function: "memory".into(), arity: 1 };
    let request = Entry::Request { id: 1, asked, arguments: None, refused: false };
    connection.append(&[Entry::Connected, request]).await.unwrap();
    connection.append(&[Entry::Result { id: 1, result: "return" }]).await.unwrap();
    let mut lines = lines(&path);
    let mut first = lines.remove(0);
    let time: Timestamp = first["time"].take().as_str().unwrap().parse().unwrap();
    assert!(time.duration_until(Timestamp::now()).as_secs() < 60);
    let user = connection.log.file.user.as_str();
    let whose = json!({
        "time": null, "connection": connection.name, "user": user, "context": "prod",
        "namespace": "shop", "pod": "app-0", "node": "app@10.0.0.1", "event": "connected",
    });
    assert_eq!(first, whose);
    assert_eq!(
        [&lines[0]["event"], &lines[0]["kind"], &lines[0]["module"], &lines[0]["arity"]],
        [&json!("request"), &json!("call"), &json!("erlang"), &json!(1)]
    );
    assert_eq!(lines[0].get("arguments"), None);
    assert_eq!([&lines[1]["id"], &lines[1]["result"]], [&json!(1), &json!("return")]);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_was_there_stays_and_a_cut_line_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    for (before, expected) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"ti", "{}\n{\"ti\n")] {
        // The connections of another file end whenever they do.
        let path = folder.path().join(before.len().to_string());
        fs::write(&path, before).unwrap();
        let first = log(&path).connection();
        let second = log(&path).connection();
        first.append(&[Entry::Connected]).await.unwrap();
        second.append(&[Entry::Connected]).await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(expected));
        assert_eq!(text[expected.len()..].lines().count(), 2);
        assert_ne!(first.name, second.name);
    }
}

#[test]
fn only_a_file_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, expected) in [
        (pipe.as_path(), "it is a pipe"),
        (Path::new("/dev/full"), "it is a device"),
        (folder.path(), "Is a directory"),
        (&folder.path().join("no/file"), "No such file"),
    ] {
        let problem = AuditFile::open(path).unwrap_err().to_string();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[tokio::test]
async fn a_file_that_was_removed_ends_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let log = log(&path);
    drop(log.connection());
    let connection = log.connection();
    connection.append(&[Entry::Connected]).await.unwrap();
    assert_eq!(lines(&path).len(), 1, "a connection that never began has no line");
    fs::remove_file(&path).unwrap();
    assert_eq!(connection.append(&[Entry::Connected]).await, Err(NotWritten));
    let Some(Error::AuditNotWritten { problem, .. }) = log.session.failure() else {
        unreachable!()
    };
    assert_eq!(problem, "it was removed");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_ends_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let mut log = log(&path);
    // A descriptor that only reads
    let file = File::open(&path).unwrap();
    log.file =
        Arc::new(AuditFile { path: path.clone(), file, cut: false.into(), user: "a".into() });
    let connection = log.connection();
    assert_eq!(connection.append(&[]).await, Ok(()));
    assert_eq!(log.session.failure(), None);
    assert_eq!(connection.append(&[Entry::Connected]).await, Err(NotWritten));
    let Some(Error::AuditNotWritten { file, .. }) = log.session.failure() else { unreachable!() };
    assert_eq!(Path::new(&file), path);
}

#[tokio::test]
async fn an_answer_waits_for_the_lines_that_are_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let connection = log(&folder.path().join("audit")).connection();
    let turn = connection.turn.clone().lock_owned().await;
    assert_eq!(connection.written().now_or_never(), None);
    drop(turn);
    assert_eq!(connection.written().now_or_never(), Some(Ok(())));
}

#[tokio::test]
async fn nothing_is_answered_after_lines_that_could_not_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let connection = log(&path).connection();
    fs::remove_file(path).unwrap();
    // Whoever gets the turn next knows, also before the writer does.
    let lines = connection.append(&[Entry::Connected]);
    let answer = connection.written();
    assert_eq!(tokio::join!(lines, answer), (Err(NotWritten), Err(NotWritten)));
    assert_eq!(connection.append(&[Entry::Connected]).await, Err(NotWritten));
}

#[tokio::test]
async fn the_end_is_logged_after_lines_that_are_still_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let connection = log(&path).connection();
    connection.append(&[Entry::Connected]).await.unwrap();
    let turn = connection.turn.clone().lock_owned().await;
    let (file, line) = (connection.log.file.clone(), connection.lines(&[Entry::Connected]));
    drop(connection);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    file.append(&line, true).unwrap();
    drop(turn);
    let mut events = Vec::new();
    while events.len() < 3 {
        tokio::task::yield_now().await;
        events = lines(&path).iter().map(|line| line["event"].clone()).collect();
    }
    assert_eq!(events, ["connected", "connected", "disconnected"]);
}
