//! The privileged port program of `k8s_connect`, kept apart from the library so that it can be
//! small. So far it holds no rule and uses no privilege: it names its version and ends.

use std::{env, process::ExitCode};

const USAGE: &str = "usage: k8s_connect_helper --version";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if arguments == ["--version"] {
        println!("k8s_connect_helper {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
