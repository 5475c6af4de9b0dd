//! What this executable is, by its first argument.

use std::process::ExitCode;

use crate::{keeper, launcher, others, probe, rows, sys};

/// Without one of the words below this is the test itself.
pub fn run(arguments: &[String]) -> ExitCode {
    let word = arguments.first().map_or("", String::as_str);
    // Some copies are setuid for a moment: they connect, and do nothing else for anybody.
    if sys::is_privileged_start() && word != "probe" {
        eprintln!("this copy is a probe only");
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
        "rows" => return rows::main(rest),
        "serve" => others::serve(rest),
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
