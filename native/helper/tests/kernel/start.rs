//! The process that the first argument selects.

use std::process::ExitCode;

use crate::{cases, keeper, launcher, others, probe, sys};

/// Without one of these arguments, runs the tests.
pub fn run(arguments: &[String]) -> ExitCode {
    let word = arguments.first().map_or("", String::as_str);
    // Some copies are setuid. They must not do anything but connect.
    if sys::is_privileged_start() && word != "probe" {
        eprintln!("this privileged copy can only run a probe");
        return ExitCode::FAILURE;
    }
    let rest = arguments.get(1..).unwrap_or_default();
    match word {
        "probe" => probe::main(rest),
        "as" => {
            eprintln!("{}", launcher::main(rest));
            return ExitCode::FAILURE;
        }
        "map" => launcher::map(rest),
        "cases" => return cases::main(rest),
        "serve" => others::serve(rest),
        "deaf" => others::deaf(rest),
        "echo" => others::echo(rest),
        "talk" => others::talk(rest),
        "hold" => others::hold(),
        "seize" => others::seize(rest),
        "make-socket" => others::make_socket(),
        "pry" => others::pry(rest),
        "loop" => others::connect_to_oneself(rest),
        "seed" => others::seed(rest),
        "beside" => others::beside(rest),
        "measure" => others::measure(rest),
        _ => return keeper::main(arguments),
    }
    ExitCode::SUCCESS
}
