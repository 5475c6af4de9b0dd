//! The results of one benchmark run, and its environment.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use serde::{Deserialize, Serialize};

/// In display order.
const BENCHMARKS: [&str; 9] = [
    "connect",
    "latency",
    "throughput",
    "memory",
    "idle",
    "many",
    "reconnect",
    "account",
    "growth",
];
const PROFILES: [&str; 5] = ["none", "20ms", "100ms", "lossy", "unnamed"];

#[derive(Serialize, Deserialize, Clone)]
pub struct Run {
    pub benchmark: String,
    /// Profile, commit, machine, versions.
    pub about: BTreeMap<String, String>,
    /// Metric → tool → figure.
    pub figures: BTreeMap<String, BTreeMap<String, Figure>>,
}

#[derive(Serialize, Deserialize, Clone)]
pub struct Figure {
    pub median: f64,
    pub p25: f64,
    pub p75: f64,
    /// One sample per round, in the order of the rounds.
    pub rounds: Vec<f64>,
}

impl Figure {
    fn new(rounds: Vec<f64>) -> Self {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        // Interpolates between neighbours.
        let quantile = |quarters: usize| {
            let (whole, part) =
                ((sorted.len() - 1) * quarters / 4, (sorted.len() - 1) * quarters % 4);
            let next = sorted[(whole + 1).min(sorted.len() - 1)];
            #[allow(clippy::cast_precision_loss)]
            let part = part as f64 / 4.0;
            sorted[whole] + (next - sorted[whole]) * part
        };
        Self { median: quantile(2), p25: quantile(1), p75: quantile(3), rounds }
    }
}

impl Run {
    /// The ratios of `ours` to `kubectl`: by metric, and by the name of each set of runs.
    pub fn ratios(sets: &[(&str, &[Self])]) -> Self {
        let mut figures: BTreeMap<String, BTreeMap<String, Figure>> = BTreeMap::new();
        for (name, runs) in sets {
            for (metric, tools) in runs.iter().flat_map(|run| &run.figures) {
                let (Some(ours), Some(kubectl)) = (tools.get("ours"), tools.get("kubectl")) else {
                    continue;
                };
                let ratio = Figure::new(vec![ours.median / kubectl.median]);
                figures.entry(metric.clone()).or_default().insert((*name).to_owned(), ratio);
            }
        }
        Self { benchmark: "ratios".into(), about: BTreeMap::new(), figures }
    }

    pub fn new(benchmark: &str, about: &str, samples: &str) -> Result<Self, Box<dyn Error>> {
        let about = about
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .collect();
        let mut rounds: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
        for line in samples.lines() {
            let [tool, metric, number] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(format!("invalid sample: {line}").into());
            };
            let by_tool = rounds.entry(metric.into()).or_default();
            by_tool.entry(tool.into()).or_default().push(number.parse()?);
        }
        let figures = rounds
            .into_iter()
            .map(|(metric, by_tool)| {
                let figures = by_tool.into_iter().map(|(tool, rounds)| (tool, Figure::new(rounds)));
                (metric, figures.collect())
            })
            .collect();
        Ok(Self { benchmark: benchmark.into(), about, figures })
    }

    pub fn figure(&self, tool: &str, metric: &str) -> Option<&Figure> {
        self.figures.get(metric)?.get(tool)
    }

    pub fn profile(&self) -> &str {
        self.about("profile")
    }

    pub fn about(&self, key: &str) -> &str {
        self.about.get(key).map_or("", String::as_str)
    }

    pub fn has_delay(&self) -> bool {
        !matches!(self.profile(), "none" | "unnamed")
    }

    /// The delay that the profile adds to each round trip.
    pub fn round_trip_ms(&self) -> Option<f64> {
        match self.profile() {
            "20ms" => Some(20.0),
            "100ms" => Some(100.0),
            // Retransmissions add to the delay.
            _ => None,
        }
    }
}

/// All runs of a directory, sorted by benchmark and profile.
pub fn read_all(directory: &Path) -> Result<Vec<Run>, Box<dyn Error>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let run: Run = serde_json::from_str(&fs::read_to_string(&path)?)?;
            runs.push(run);
        }
    }
    let index = |all: &[&str], one: &str| all.iter().position(|other| *other == one);
    runs.sort_by_key(|run| (index(&BENCHMARKS, &run.benchmark), index(&PROFILES, run.profile())));
    Ok(runs)
}
