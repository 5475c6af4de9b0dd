//! The inner process: makes the ground and tries each row on it.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use crate::{
    connections, ground::Ground, helper, hostile, identity, life, limits, listener, machines,
    nobody_notices,
};

/// Why a row could not be tried here.
pub struct Skipped(pub String);

/// A row that fails panics.
pub type Verdict = Result<(), Skipped>;

/// One row of a table.
pub struct Row {
    name: String,
    check: Box<dyn Fn(&Ground) -> Verdict>,
}

impl Row {
    /// A row that can always be tried.
    pub fn new(name: &str, check: impl Fn(&Ground) + 'static) -> Self {
        Self::maybe(name, move |ground| {
            check(ground);
            Ok(())
        })
    }

    /// A row that some machines cannot try.
    pub fn maybe(name: &str, check: impl Fn(&Ground) -> Verdict + 'static) -> Self {
        Self { name: name.to_owned(), check: Box::new(check) }
    }
}

/// For a row that some machines cannot try.
pub fn skip(why: impl Into<String>) -> Verdict {
    Err(Skipped(why.into()))
}

/// `rows CGROUP2 ROOT FOLDER [--machine] [--refused WORD] [FILTER]`
pub fn main(arguments: &[String]) -> ExitCode {
    let [cgroups, root, folder, rest @ ..] = arguments else { panic!("rows CGROUP2 ROOT FOLDER") };
    let ground = Ground::make(Path::new(cgroups), Path::new(root), Path::new(folder));
    helper::install(&ground);
    panic::set_hook(Box::new(note_panic));
    let refused = rest.iter().position(|word| word == "--refused");
    let word = refused.map(|at| rest.get(at + 1).expect("--refused WORD").clone());
    let filter = rest.iter().enumerate().find_map(|(place, word)| {
        let is_value = refused.is_some_and(|at| place == at + 1);
        (!word.starts_with("--") && !is_value).then_some(word.as_str())
    });
    let rows = word.map_or_else(all, |word| vec![machines::refused(word)]);
    Report::default().of(&rows, filter.unwrap_or(""), &ground)
}

fn all() -> Vec<Row> {
    let sections = [
        identity::rows(),
        listener::rows(),
        connections::rows(),
        machines::rows(),
        limits::rows(),
        life::rows(),
        nobody_notices::rows(),
        hostile::rows(),
    ];
    sections.into_iter().flatten().collect()
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Kept for the row's line; the first one is the reason, the rest come of it.
fn note_panic(info: &panic::PanicHookInfo) {
    let message = info.payload_as_str().unwrap_or("no message").replace('\n', " ");
    let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
    PANIC.with_borrow_mut(|noted| {
        if noted.is_empty() {
            *noted = format!("{message} ({})", place.unwrap_or_default());
        }
    });
}

#[derive(Default)]
struct Report {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
}

impl Report {
    fn of(mut self, rows: &[Row], filter: &str, ground: &Ground) -> ExitCode {
        for row in rows.iter().filter(|row| row.name.contains(filter)) {
            self.line(row, ground);
        }
        let Self { passed, failed, skipped } = self;
        for line in &failed {
            println!("{line}");
        }
        let word = if failed.is_empty() { "ok" } else { "FAILED" };
        println!(
            "test result: {word}. {passed} passed; {} failed; {skipped} skipped",
            failed.len()
        );
        if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn line(&mut self, row: &Row, ground: &Ground) {
        let started = Instant::now();
        PANIC.take();
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| (row.check)(ground)));
        let took = started.elapsed().as_millis();
        match verdict {
            Ok(Ok(())) => {
                self.passed += 1;
                println!("ok {} ({took} ms)", row.name);
            }
            Ok(Err(Skipped(why))) => {
                self.skipped += 1;
                println!("skipped: {why}: {}", row.name);
            }
            Err(_) => {
                let line = format!("FAILED {}: {}", row.name, PANIC.take());
                println!("{line}");
                self.failed.push(line);
            }
        }
    }
}
