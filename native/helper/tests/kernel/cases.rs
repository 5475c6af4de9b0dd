//! The inner process: sets up the environment and runs the tests.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use crate::{
    cgroups, connections, environment::Environment, helper, hostile, identity, life, limits,
    listener, machines, network, nobody_notices, protocol,
};

/// Why a test was skipped.
pub struct Skipped(pub String);

/// A test panics if it fails.
pub type Verdict = Result<(), Skipped>;

/// One test.
pub struct Case {
    name: String,
    check: Box<dyn Fn(&Environment) -> Verdict>,
}

impl Case {
    /// A test that runs on every machine.
    pub fn new(name: &str, check: impl Fn(&Environment) + 'static) -> Self {
        Self::maybe(name, move |environment| {
            check(environment);
            Ok(())
        })
    }

    /// A test that can be skipped on some machines.
    pub fn maybe(name: &str, check: impl Fn(&Environment) -> Verdict + 'static) -> Self {
        Self { name: name.to_owned(), check: Box::new(check) }
    }
}

/// Skips a test.
pub fn skip(why: impl Into<String>) -> Verdict {
    Err(Skipped(why.into()))
}

/// `cases CGROUP2 ROOT DIRECTORY [--machine] [--refused REFUSAL] [FILTER]`
pub fn main(arguments: &[String]) -> ExitCode {
    let [cgroups, root, directory, rest @ ..] = arguments else {
        panic!("cases CGROUP2 ROOT DIRECTORY")
    };
    let environment = Environment::make(Path::new(cgroups), Path::new(root), Path::new(directory));
    helper::install(&environment);
    panic::set_hook(Box::new(record_panic));
    let refused = rest.iter().position(|word| word == "--refused");
    let word = refused.map(|at| rest.get(at + 1).expect("--refused WORD").clone());
    let filter = rest.iter().enumerate().find_map(|(place, word)| {
        let is_value = refused.is_some_and(|at| place == at + 1);
        (!word.starts_with("--") && !is_value).then_some(word.as_str())
    });
    let cases = word.map_or_else(all, |word| vec![machines::refused(word)]);
    Report::default().of(&cases, filter.unwrap_or(""), &environment)
}

fn all() -> Vec<Case> {
    let sections = [
        identity::cases(),
        listener::cases(),
        connections::cases(),
        network::cases(),
        machines::cases(),
        cgroups::cases(),
        limits::cases(),
        life::cases(),
        protocol::cases(),
        nobody_notices::cases(),
        hostile::cases(),
    ];
    sections.into_iter().flatten().collect()
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Records the first panic of a test. Later panics are consequences.
fn record_panic(info: &panic::PanicHookInfo) {
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
    fn of(mut self, cases: &[Case], filter: &str, environment: &Environment) -> ExitCode {
        for row in cases.iter().filter(|row| row.name.contains(filter)) {
            self.line(row, environment);
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

    fn line(&mut self, row: &Case, environment: &Environment) {
        let started = Instant::now();
        PANIC.take();
        let verdict = panic::catch_unwind(AssertUnwindSafe(|| (row.check)(environment)));
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
