//! The one table: each figure of ours, what is beside it, and how far it was to reach.

use std::fmt::Write as _;

use crate::run::{Figure, Run};

/// Whose figure, and its name.
type Which = (&'static str, &'static str);

/// What was hoped for.
#[derive(Clone, Copy)]
enum Reach {
    /// Ours at most so many times the other.
    Ratio(f64),
    /// So much at most.
    AtMost(f64),
    /// Nothing: it is only told.
    Told,
}

#[derive(Clone, Copy)]
struct Row {
    benchmark: &'static str,
    title: &'static str,
    unit: &'static str,
    ours: Which,
    beside: Option<Which>,
    reach: Reach,
    /// Others of the same name as the one beside.
    also: &'static [&'static str],
    /// Of waiting, for what takes round trips.
    round_trips: Option<f64>,
}

const ALSO: &[&str] = &["spdy", "kube_rs", "direct"];

const fn row(
    benchmark: &'static str,
    title: &'static str,
    unit: &'static str,
    name: &'static str,
    reach: Reach,
) -> Row {
    Row {
        benchmark,
        title,
        unit,
        ours: ("ours", name),
        beside: Some(("kubectl", name)),
        reach,
        also: ALSO,
        round_trips: None,
    }
}

const fn connect(title: &'static str, name: &'static str, beside: &'static str) -> Row {
    let beside = Some((beside, "command_ms"));
    Row { beside, also: &[], ..row("connect", title, "ms", name, Reach::Ratio(0.5)) }
}

const fn waiting(round_trips: f64, row: Row) -> Row {
    Row { round_trips: Some(round_trips), ..row }
}

const fn alone(row: Row) -> Row {
    Row { beside: None, also: &[], ..row }
}

const ROWS: &[Row] = &[
    waiting(7.0, connect("`connect/1`, nothing warm", "connect_cold_ms", "recipe")),
    waiting(6.0, connect("the same, the spec tells the name", "connect_named_ms", "recipe")),
    waiting(5.0, connect("to a second pod, connections warm", "connect_warm_ms", "recipe")),
    connect("`connect/1` and a call", "connect_cold_and_call_ms", "recipe"),
    connect("`mix k8s.connect app-0 --rpc`, all of it", "command_ms", "recipe"),
    connect("`mix k8s.connect app-0 --rpc`, all of it", "command_ms", "exec"),
    row("latency", "call, 64 B, p50", "µs", "erpc_64_p50_us", Reach::Ratio(0.8)),
    row("latency", "call, 64 B, p99", "µs", "erpc_64_p99_us", Reach::Told),
    row("latency", "call, 4 KiB, p50", "µs", "erpc_4096_p50_us", Reach::Ratio(0.8)),
    row("latency", "call, 4 KiB, p99", "µs", "erpc_4096_p99_us", Reach::Told),
    row("throughput", "messages, down: CPU", "ms/MB", "dist_down_cpu_ms_per_mb", Reach::Ratio(0.6)),
    row("throughput", "messages, up: CPU", "ms/MB", "dist_up_cpu_ms_per_mb", Reach::Ratio(0.6)),
    row("throughput", "raw, down: CPU", "ms/MB", "raw_down_cpu_ms_per_mb", Reach::Ratio(0.6)),
    row("throughput", "raw, up: CPU", "ms/MB", "raw_up_cpu_ms_per_mb", Reach::Ratio(0.6)),
    row("throughput", "messages, down", "MB/s", "dist_down_mb_per_s", Reach::Told),
    row("throughput", "messages, up", "MB/s", "dist_up_mb_per_s", Reach::Told),
    row("throughput", "raw, down", "MB/s", "raw_down_mb_per_s", Reach::Told),
    row("throughput", "raw, up", "MB/s", "raw_up_mb_per_s", Reach::Told),
    row("throughput", "raw, 64 B there and back, p50", "µs", "raw_64_p50_us", Reach::Told),
    row("throughput", "raw, 64 B there and back, p99", "µs", "raw_64_p99_us", Reach::Told),
    row("throughput", "call beside bulk, p50", "µs", "erpc_64_beside_bulk_p50_us", Reach::Told),
    row("throughput", "call beside bulk, p99", "µs", "erpc_64_beside_bulk_p99_us", Reach::Told),
    row("memory", "a session, PSS", "MB", "memory_1_pss_mb", Reach::Ratio(0.1)),
    row("memory", "all sessions, PSS", "MB", "memory_all_pss_mb", Reach::Ratio(0.1)),
    row("memory", "a session, RSS", "MB", "memory_1_rss_mb", Reach::Told),
    row("memory", "all sessions, RSS", "MB", "memory_all_rss_mb", Reach::Told),
    row("memory", "all sessions, not of files", "MB", "memory_all_anon_mb", Reach::Told),
    alone(row("memory", "loading the library", "ms", "load_ms", Reach::AtMost(30.0))),
    alone(row("memory", "the library, stripped", "MB", "nif_mb", Reach::AtMost(8.0))),
    row("idle", "idle: CPU", "% of a core", "idle_cpu_percent", Reach::AtMost(0.1)),
    row("idle", "idle: wake-ups", "/s", "idle_wakeups_per_s", Reach::Told),
    row("idle", "idle: on the wire", "B/s", "idle_bytes_per_s", Reach::Told),
];

const GROUNDS: [&str; 11] = [
    "kernel",
    "commit",
    "otp",
    "elixir",
    "kubernetes",
    "kubectl",
    "kube",
    "hyper",
    "rustls",
    "tokio",
    "rustler",
];

/// README.md of a directory of runs.
pub fn page(runs: &[Run], plots: &[String]) -> String {
    let mut page = String::from(
        "# Measured\n\n\
        Made by `script/bench report` from the files beside it; [the script](../../script/bench) says what \
        each benchmark does. Medians of the rounds, which were run in turns, and in parentheses the middle \
        half of them. `direct` is from a namespace with a route to the pod, nearer than any client.\n\n",
    );
    for (grounds, names) in grounds(runs) {
        let _ = writeln!(page, "- {}: {grounds}", names.join(", "));
    }
    page.push_str("\n| figure | distance | ours | beside | ratio | reach | reached | also |\n|---|---|---|---|---|---|---|---|\n");
    for row in ROWS {
        for run in runs.iter().filter(|run| run.benchmark == row.benchmark) {
            page.push_str(&row.lines(run, runs).unwrap_or_default());
        }
    }
    page.push('\n');
    for plot in plots {
        let _ = writeln!(page, "![{plot}]({plot}.svg)\n");
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

/// On what the runs were made, where they share it in one line.
fn grounds(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for run in runs {
        let about = |key| format!("{key} {}", run.about(key));
        let versions = GROUNDS.map(about).join(", ");
        let grounds = format!("{}, {} cores, {versions}", run.about("cpu"), run.about("cores"));
        let name = format!("{} {} ({} rounds)", run.benchmark, run.profile(), run.about("rounds"));
        match all.iter_mut().find(|(same, _)| *same == grounds) {
            Some((_, names)) => names.push(name),
            None => all.push((grounds, vec![name])),
        }
    }
    all
}

impl Row {
    /// Nothing where it was not measured.
    fn lines(&self, run: &Run, runs: &[Run]) -> Option<String> {
        let ours = run.figure(self.ours.0, self.ours.1)?;
        let beside = self.beside.and_then(|(who, name)| Some((who, run.figure(who, name)?)));
        let ratio = beside.map(|(_, other)| ours.median / other.median);
        let (reach, reached) = match self.reach_of(run) {
            Reach::Ratio(most) => (format!("≤ {most} ×"), ratio.map(|ratio| ratio <= most)),
            Reach::AtMost(most) => (format!("≤ {most}"), Some(ours.median <= most)),
            Reach::Told => (String::new(), None),
        };
        let mut line = format!(
            "| {}, {} | {} | {} | {} | {} | {reach} | {} | {} |\n",
            self.title,
            self.unit,
            run.profile(),
            spread(ours),
            beside.map_or(String::new(), |(who, other)| format!("{who} {}", spread(other))),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            verdict(reached),
            self.others(run),
        );
        line.push_str(&self.waited(ours, run, runs).unwrap_or_default());
        Some(line)
    }

    /// A call is on the way for as long as that is, whoever makes it.
    fn reach_of(&self, run: &Run) -> Reach {
        if self.benchmark == "latency" && run.is_far() { Reach::Told } else { self.reach }
    }

    fn others(&self, run: &Run) -> String {
        let Some((_, name)) = self.beside else { return String::new() };
        let others = self.also.iter().chain(&["alone"]);
        let told = others
            .filter_map(|who| Some(format!("{who} {}", number(run.figure(who, name)?.median))));
        told.collect::<Vec<_>>().join(", ")
    }

    /// The time without the one that is taken at no distance, in round trips.
    fn waited(&self, ours: &Figure, run: &Run, runs: &[Run]) -> Option<String> {
        let (most, round_trip) = (self.round_trips?, run.round_trip_ms()?);
        let same = |near: &&Run| near.benchmark == run.benchmark && near.profile() == "none";
        let near = runs.iter().find(same)?.figure(self.ours.0, self.ours.1)?;
        let count = (ours.median - near.median) / round_trip;
        Some(format!(
            "| {}, round trips more than at no distance | {} | {count:.2} | | | ≤ {most} | {} | {:.2} with all that is done meanwhile |\n",
            self.title,
            run.profile(),
            // It is a whole number, and timers are late.
            verdict(Some(count <= most + 0.2)),
            ours.median / round_trip,
        ))
    }
}

fn verdict(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    }
}

fn spread(figure: &Figure) -> String {
    if figure.rounds.len() < 2 {
        return number(figure.median);
    }
    format!("{} ({}–{})", number(figure.median), number(figure.p25), number(figure.p75))
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
