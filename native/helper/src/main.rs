//! The executable. All code is in the library.

use std::{env, process::ExitCode};

const USAGE: &str = "usage: k8s_connect_helper [--version]\n\n\
    The library k8s_connect starts this program and sends requests on standard input.";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if arguments.is_empty() {
        return serve();
    }
    if arguments == ["--version"] {
        println!("k8s_connect_helper {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

#[cfg(target_os = "linux")]
fn serve() -> ExitCode {
    // The only environment variables that are read. They count only if root runs the helper.
    helper::serve::run(&["SUDO_UID", "SUDO_GID"].map(|name| env::var(name).ok()))
}

#[cfg(not(target_os = "linux"))]
fn serve() -> ExitCode {
    eprintln!("unsupported: k8s_connect_helper needs Linux");
    ExitCode::from(2)
}
