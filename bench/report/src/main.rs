//! usage:
//!   `bench_report collect BENCHMARK ABOUT < FIGURES`   one run as JSON
//!   `bench_report render DIRECTORY`                    its runs' table and plots, beside them
//!
//! A figure is a line: whose it is, its name, a number; one name may come in many rounds. ABOUT is
//! a file of keys and their texts.

mod plot;
mod run;
mod table;

use std::{error::Error, fs, path::Path};

use run::Run;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["collect", benchmark, about] => {
            let figures = std::io::read_to_string(std::io::stdin())?;
            let run = Run::new(benchmark, &fs::read_to_string(about)?, &figures)?;
            println!("{}", serde_json::to_string_pretty(&run)?);
            Ok(())
        }
        ["render", directory] => render(Path::new(directory)),
        _ => Err("unknown words; main.rs has the known ones".into()),
    }
}

fn render(directory: &Path) -> Done {
    let runs = run::read_all(directory)?;
    let plots = plot::draw_all(&runs, directory)?;
    fs::write(directory.join("README.md"), table::page(&runs, &plots))?;
    Ok(())
}
