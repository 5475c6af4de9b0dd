//! usage:
//!   `bench_report collect BENCHMARK ABOUT < SAMPLES`   prints one run as JSON
//!   `bench_report render DIRECTORY`                    writes the table and plots of all runs there
//!
//! DIRECTORY/first may have runs of an earlier version, to be compared.
//!
//! A sample is a line: tool, metric, number; each round adds one sample. ABOUT is a file with one key
//! and value per line.

mod plot;
mod run;
mod table;

use std::{error::Error, fs, path::Path};

use run::Run;

const USAGE: &str =
    "invalid arguments. usage: bench_report collect BENCHMARK ABOUT < SAMPLES | render DIRECTORY";

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["collect", benchmark, about] => {
            let samples = std::io::read_to_string(std::io::stdin())?;
            let run = Run::new(benchmark, &fs::read_to_string(about)?, &samples)?;
            println!("{}", serde_json::to_string_pretty(&run)?);
            Ok(())
        }
        ["render", directory] => render(Path::new(directory)),
        _ => Err(USAGE.into()),
    }
}

fn render(directory: &Path) -> Result {
    let runs = run::read_all(directory)?;
    let first = directory.join("first");
    let first = if first.exists() { run::read_all(&first)? } else { Vec::new() };
    let plots = plot::draw_all(&runs, &first, directory)?;
    fs::write(directory.join("README.md"), table::page(&runs, &plots))?;
    Ok(())
}
