#![allow(clippy::unwrap_used)]

use tokio::time::{sleep, timeout};

use super::{clock::Clock, *};

/// Long enough for the task to look at the clocks, or to end.
const A_WHILE: Duration = Duration::from_secs(2);

async fn is_notified(suspensions: &mut watch::Receiver<()>) -> bool {
    timeout(A_WHILE, suspensions.changed()).await.is_ok_and(|changed| changed.is_ok())
}

#[tokio::test(start_paused = true)]
async fn every_connection_is_notified_once_for_each_suspension() {
    let clock = Clock::default();
    let monitor = clock.monitor();
    let (mut one, mut two) = (monitor.subscribe(), monitor.subscribe());
    for _ in 0..2 {
        assert!(!is_notified(&mut one).await);
        clock.suspend(6);
        assert!(is_notified(&mut one).await);
        assert!(two.has_changed().unwrap());
        two.mark_unchanged();
    }
    assert!(!is_notified(&mut one).await);
    assert!(!two.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn suspensions_of_5_s_do_not_count_however_many() {
    let clock = Clock::default();
    let mut suspensions = clock.monitor().subscribe();
    for _ in 0..5 {
        clock.suspend(5);
        assert!(!is_notified(&mut suspensions).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspension_before_the_first_connection_does_not_count() {
    let clock = Clock::default();
    let monitor = clock.monitor();
    clock.suspend(100);
    let mut suspensions = monitor.subscribe();
    assert!(!is_notified(&mut suspensions).await);
    drop(suspensions);
    sleep(A_WHILE).await;
    clock.suspend(100);
    assert!(!is_notified(&mut monitor.subscribe()).await);
}

#[tokio::test(start_paused = true)]
async fn one_task_runs_from_the_first_connection_to_the_last() {
    let clock = Clock::default();
    let monitor = clock.monitor();
    let id = || monitor.lock().as_ref().map(JoinHandle::id);
    assert_eq!(id(), None);
    let one = monitor.subscribe();
    let first = id();
    let mut two = monitor.subscribe();
    drop(one);
    sleep(A_WHILE).await;
    assert!(first.is_some());
    assert_eq!(id(), first);
    clock.suspend(6);
    assert!(is_notified(&mut two).await);
    drop(two);
    sleep(A_WHILE).await;
    assert_eq!(id(), None);
    let mut three = monitor.subscribe();
    clock.suspend(6);
    assert!(is_notified(&mut three).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_replaces_the_last_one_is_notified() {
    let clock = Clock::default();
    let monitor = clock.monitor();
    let mut suspensions = monitor.subscribe();
    for _ in 0..3 {
        // The task has not run in between.
        drop(suspensions);
        suspensions = monitor.subscribe();
        clock.suspend(6);
        assert!(is_notified(&mut suspensions).await);
    }
}

#[test]
fn a_runtime_that_ends_does_not_end_the_next_ones_task() {
    let clock = Clock::default();
    let monitor = clock.monitor();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    // Its connection is kept.
    let _ended = runtime().block_on(async { monitor.subscribe() });
    runtime().block_on(async {
        let mut suspensions = monitor.subscribe();
        clock.suspend(6);
        assert!(is_notified(&mut suspensions).await);
    });
}

#[tokio::test(start_paused = true)]
async fn without_the_clocks_there_is_no_task() {
    let monitor = Monitor::new(|| None);
    let mut suspensions = monitor.subscribe();
    assert!(monitor.lock().is_none());
    assert!(!is_notified(&mut suspensions).await);
}

#[cfg(target_os = "linux")]
#[test]
fn linux_knows_how_long_it_has_been_suspended() {
    let before = suspended_time().unwrap();
    let after = suspended_time().unwrap();
    assert!(after.abs_diff(before) < MIN_SUSPENSION, "{before:?} {after:?}");
}
