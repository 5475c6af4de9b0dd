//! `k8s_connect_exec [--control FD] ADDRESS:PORT=PORT... -- COMMAND [ARGUMENT...]`

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match options(std::env::args_os().skip(1)) {
        Ok(options) => exec::run(&options).exit_code().into(),
        Err(problem) => {
            eprintln!("k8s_connect_exec: {problem}");
            2.into()
        }
    }
}

#[cfg(target_os = "linux")]
fn options(
    mut arguments: impl Iterator<Item = std::ffi::OsString>,
) -> Result<exec::Options, String> {
    use std::{ffi::CString, os::unix::ffi::OsStringExt};

    let (mut redirects, mut control) = (Vec::new(), None);
    loop {
        let argument = arguments.next().ok_or("missing -- COMMAND")?;
        match argument.to_str().unwrap_or_default() {
            "--" => break,
            "--control" => {
                let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
                control = Some(number.ok_or("--control needs the number of a descriptor")?);
            }
            redirect => redirects.push(redirect.parse().map_err(|error| format!("{error}"))?),
        }
    }
    let command: Result<Vec<_>, _> =
        arguments.map(|argument| CString::new(argument.into_vec())).collect();
    let command = command.map_err(|error| error.to_string())?;
    if command.is_empty() {
        return Err("missing COMMAND".into());
    }
    Ok(exec::Options { redirects, command, control })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("unsupported: k8s_connect_exec needs Linux");
    std::process::exit(2);
}
