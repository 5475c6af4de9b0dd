//! The table of results: each metric of `k8s_connect`, the baseline, and the goal.

use std::fmt::Write as _;

use crate::run::{Figure, Run};

/// Tool and metric.
type Key = (&'static str, &'static str);

/// The goal of a metric.
#[derive(Clone, Copy)]
enum Goal {
    /// At most this ratio to the baseline.
    Ratio(f64),
    /// At least this ratio to the baseline.
    RatioAtLeast(f64),
    /// At most this value.
    AtMost(f64),
    /// No goal: for information only.
    None,
}

#[derive(Clone, Copy)]
struct Row {
    benchmark: &'static str,
    title: &'static str,
    unit: &'static str,
    ours: Key,
    baseline: Option<Key>,
    goal: Goal,
    /// With a network delay.
    goal_with_delay: Goal,
    /// Other tools with the same metric as the baseline.
    others: &'static [&'static str],
    /// The most round trips that it may take.
    round_trips: Option<f64>,
}

const OTHERS: &[&str] = &["spdy", "kube_rs", "direct", "limit"];

const fn row(
    benchmark: &'static str,
    title: &'static str,
    unit: &'static str,
    metric: &'static str,
    goal: Goal,
) -> Row {
    Row {
        benchmark,
        title,
        unit,
        ours: ("ours", metric),
        baseline: Some(("kubectl", metric)),
        goal,
        goal_with_delay: goal,
        others: OTHERS,
        round_trips: None,
    }
}

const fn with_delay(goal_with_delay: Goal, row: Row) -> Row {
    Row { goal_with_delay, ..row }
}

/// The network dominates the latency of a call.
const fn latency(title: &'static str, metric: &'static str, goal: Goal) -> Row {
    with_delay(Goal::None, row("latency", title, "µs", metric, goal))
}

const fn cpu(title: &'static str, metric: &'static str) -> Row {
    let row = row("throughput", title, "ms/MB", metric, Goal::Ratio(0.45));
    with_delay(Goal::Ratio(0.6), row)
}

const fn rate(title: &'static str, metric: &'static str) -> Row {
    let row = row("throughput", title, "MB/s", metric, Goal::RatioAtLeast(1.5));
    with_delay(Goal::RatioAtLeast(1.0), row)
}

/// Of one step in the path of the data.
const fn account(title: &'static str, metric: &'static str) -> Row {
    without_baseline(row("account", title, "µs", metric, Goal::None))
}

/// With a number of sessions, beside another figure of the same run.
const fn growth(
    title: &'static str,
    unit: &'static str,
    metric: &'static str,
    with_fewer: &'static str,
) -> Row {
    let baseline = Some(("ours", with_fewer));
    Row { baseline, others: &[], ..row("growth", title, unit, metric, Goal::Ratio(1.2)) }
}

const fn connect(title: &'static str, metric: &'static str, baseline: &'static str) -> Row {
    let baseline = Some((baseline, "command_ms"));
    Row { baseline, others: &[], ..row("connect", title, "ms", metric, Goal::Ratio(0.5)) }
}

const fn command(
    title: &'static str,
    metric: &'static str,
    baseline: &'static str,
    ratio: f64,
) -> Row {
    let goal = Goal::Ratio(ratio);
    Row { goal, goal_with_delay: goal, ..connect(title, metric, baseline) }
}

const fn with_round_trips(round_trips: f64, row: Row) -> Row {
    Row { round_trips: Some(round_trips), ..row }
}

const fn without_baseline(row: Row) -> Row {
    Row { baseline: None, others: &[], ..row }
}

const ROWS: &[Row] = &[
    with_round_trips(
        7.0,
        connect("`connect/1`, first connection of the VM", "connect_cold_ms", "recipe"),
    ),
    with_round_trips(
        6.0,
        connect("the same, node name in the pod's spec", "connect_named_ms", "recipe"),
    ),
    with_round_trips(5.0, connect("`connect/1` to a second pod", "connect_warm_ms", "recipe")),
    connect("`connect/1` and a call", "connect_cold_and_call_ms", "recipe"),
    connect("`mix k8s.connect app-0 --rpc`, whole command", "command_ms", "recipe"),
    // `mix run` uses no network.
    with_delay(
        Goal::None,
        command("`mix k8s.connect app-0 --rpc`, whole command", "command_ms", "mix", 1.2),
    ),
    command("the program of `mix k8s.launcher`, whole command", "launcher_ms", "exec", 0.8),
    latency("call, 64 B, p50", "erpc_64_p50_us", Goal::Ratio(0.6)),
    latency("call, 64 B, p99", "erpc_64_p99_us", Goal::Ratio(0.7)),
    latency("call, 4 KiB, p50", "erpc_4096_p50_us", Goal::Ratio(0.8)),
    latency("call, 4 KiB, p99", "erpc_4096_p99_us", Goal::None),
    cpu("messages from the pod: CPU", "dist_down_cpu_ms_per_mb"),
    cpu("messages to the pod: CPU", "dist_up_cpu_ms_per_mb"),
    cpu("raw stream from the pod: CPU", "raw_down_cpu_ms_per_mb"),
    cpu("raw stream to the pod: CPU", "raw_up_cpu_ms_per_mb"),
    rate("messages from the pod", "dist_down_mb_per_s"),
    rate("messages to the pod", "dist_up_mb_per_s"),
    rate("raw stream from the pod", "raw_down_mb_per_s"),
    rate("raw stream to the pod", "raw_up_mb_per_s"),
    row("throughput", "raw stream, 64 B round trip, p50", "µs", "raw_64_p50_us", Goal::None),
    with_delay(
        Goal::None,
        Row {
            baseline: Some(("limit", "raw_64_p50_us")),
            others: &[],
            ..row(
                "throughput",
                "raw stream, 64 B round trip, p50",
                "µs",
                "raw_64_p50_us",
                Goal::Ratio(1.1),
            )
        },
    ),
    row("throughput", "raw stream, 64 B round trip, p99", "µs", "raw_64_p99_us", Goal::None),
    with_delay(
        Goal::None,
        row(
            "throughput",
            "call during a bulk transfer, p50",
            "µs",
            "erpc_64_beside_bulk_p50_us",
            Goal::Ratio(0.5),
        ),
    ),
    row(
        "throughput",
        "call during a bulk transfer, p99",
        "µs",
        "erpc_64_beside_bulk_p99_us",
        Goal::None,
    ),
    row("memory", "one connection, PSS", "MB", "memory_1_pss_mb", Goal::Ratio(0.1)),
    row("memory", "20 connections, PSS", "MB", "memory_all_pss_mb", Goal::Ratio(0.1)),
    row("memory", "one connection, RSS", "MB", "memory_1_rss_mb", Goal::AtMost(8.0)),
    row("memory", "20 connections, RSS", "MB", "memory_all_rss_mb", Goal::None),
    row("memory", "20 connections, anonymous memory", "MB", "memory_all_anon_mb", Goal::None),
    without_baseline(row("memory", "loading the library", "ms", "load_ms", Goal::AtMost(15.0))),
    without_baseline(row("memory", "the library, stripped", "MB", "nif_mb", Goal::AtMost(8.0))),
    row("idle", "idle: CPU", "% of a core", "idle_cpu_percent", Goal::AtMost(0.1)),
    row("idle", "idle: wake-ups", "/s", "idle_wakeups_per_s", Goal::None),
    row("idle", "idle: network traffic", "B/s", "idle_bytes_per_s", Goal::None),
    without_baseline(row("many", "many pods", "pods", "many_pods", Goal::None)),
    row("many", "all pods connected", "ms", "connected_ms", Goal::None),
    row("many", "all pods: PSS of the processes", "MB", "memory_all_pss_mb", Goal::None),
    row("many", "all pods: watches", "watches", "watches", Goal::None),
    row("many", "all pods: API connections", "connections", "api_connections", Goal::None),
    row("many", "API server restart: first pod, from /readyz", "ms", "again_first_ms", Goal::None),
    row("many", "API server restart: last pod, from /readyz", "ms", "again_last_ms", Goal::None),
    row("many", "API server restart: last pod, from the kill", "ms", "outage_ms", Goal::None),
    row("reconnect", "killed container, from the kill", "ms", "reconnect_container_ms", Goal::None),
    row("reconnect", "deleted pod, from Ready", "ms", "reconnect_pod_ms", Goal::None),
    row("reconnect", "deleted pod, from the kill", "ms", "reconnect_pod_in_total_ms", Goal::None),
    row("reconnect", "API server, from /readyz", "ms", "reconnect_server_ms", Goal::None),
    row("reconnect", "API server, from the kill", "ms", "reconnect_server_in_total_ms", Goal::None),
    account("call, 64 B: time", "call_wall_us"),
    account("call, 64 B: CPU of this BEAM", "call_beam_us"),
    account("call, 64 B: CPU of the native library", "call_native_us"),
    account("call, 64 B: CPU of the API server", "call_kube_apiserver_us"),
    account("call, 64 B: CPU of the kubelet", "call_kubelet_us"),
    account("call, 64 B: CPU of containerd", "call_containerd_us"),
    account("call, 64 B: CPU of the pod's BEAM", "call_pod_us"),
    account("1 MB from the pod: CPU of this BEAM", "down_mb_beam_us"),
    account("1 MB from the pod: CPU of the native library", "down_mb_native_us"),
    account("1 MB from the pod: CPU of the API server", "down_mb_kube_apiserver_us"),
    account("1 MB from the pod: CPU of the kubelet", "down_mb_kubelet_us"),
    account("1 MB from the pod: CPU of containerd", "down_mb_containerd_us"),
    account("1 MB from the pod: CPU of the pod's BEAM", "down_mb_pod_us"),
    account("1 MB to the pod: CPU of this BEAM", "up_mb_beam_us"),
    account("1 MB to the pod: CPU of the native library", "up_mb_native_us"),
    account("1 MB to the pod: CPU of the API server", "up_mb_kube_apiserver_us"),
    account("1 MB to the pod: CPU of the kubelet", "up_mb_kubelet_us"),
    account("1 MB to the pod: CPU of containerd", "up_mb_containerd_us"),
    account("1 MB to the pod: CPU of the pod's BEAM", "up_mb_pod_us"),
    growth(
        "`connect/1` after 1000 sessions, and after 10",
        "ms",
        "growth_1000_connect_ms",
        "growth_10_connect_ms",
    ),
    growth(
        "call with 1000 sessions, and with 10, p50",
        "µs",
        "growth_1000_call_p50_us",
        "growth_10_call_p50_us",
    ),
    without_baseline(row(
        "growth",
        "each further session of 1000, RSS",
        "kB",
        "growth_1000_further_rss_kb",
        Goal::AtMost(60.0),
    )),
];

const VERSIONS: [&str; 11] = [
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
        "# Benchmark results\n\n\
        `script/bench report` makes this page from the files next to it; [script/bench](../../script/bench) describes \
        each benchmark. A figure is the median of all rounds, with the middle half in parentheses. The tools take \
        turns in each run. `direct` is a client in a network namespace with a route to the pod, nearer than any real \
        client. `limit` is the core of k8s_connect in the program that measures, without a BEAM and a local socket.\n\n",
    );
    for (environment, names) in environments(runs) {
        let _ = writeln!(page, "- {}: {environment}", names.join(", "));
    }
    page.push_str("\n| figure | network delay | k8s_connect | compared with | ratio | goal | met | others |\n|---|---|---|---|---|---|---|---|\n");
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

/// The environments of the runs, each with the names of its runs.
fn environments(runs: &[Run]) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for run in runs {
        let about = |key| format!("{key} {}", run.about(key));
        let versions = VERSIONS.map(about).join(", ");
        let environment = format!("{}, {} cores, {versions}", run.about("cpu"), run.about("cores"));
        let rounds = run.about("rounds");
        let noun = if rounds == "1" { "round" } else { "rounds" };
        let name = format!("{} {} ({rounds} {noun})", run.benchmark, run.profile());
        match all.iter_mut().find(|(same, _)| *same == environment) {
            Some((_, names)) => names.push(name),
            None => all.push((environment, vec![name])),
        }
    }
    all
}

impl Row {
    /// `None` if the metric was not measured.
    fn lines(&self, run: &Run, runs: &[Run]) -> Option<String> {
        let ours = run.figure(self.ours.0, self.ours.1)?;
        let baseline =
            self.baseline.and_then(|(tool, metric)| Some((tool, run.figure(tool, metric)?)));
        let ratio = baseline.map(|(_, other)| ours.median / other.median);
        // There is none to zero.
        let ratio = ratio.filter(|ratio| ratio.is_finite());
        let (goal, met) = match self.goal_of(run) {
            Goal::Ratio(most) => (format!("≤ {most} ×"), ratio.map(|ratio| ratio <= most)),
            Goal::RatioAtLeast(least) => {
                (format!("≥ {least} ×"), ratio.map(|ratio| ratio >= least))
            }
            Goal::AtMost(most) => (format!("≤ {most}"), Some(ours.median <= most)),
            Goal::None => (String::new(), None),
        };
        let mut line = format!(
            "| {}, {} | {} | {} | {} | {} | {goal} | {} | {} |\n",
            self.title,
            self.unit,
            run.profile(),
            spread(ours),
            baseline.map_or(String::new(), |(tool, other)| format!("{tool} {}", spread(other))),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            verdict(met),
            self.others(run),
        );
        line.push_str(&self.round_trips_line(ours, run, runs).unwrap_or_default());
        Some(line)
    }

    fn goal_of(&self, run: &Run) -> Goal {
        if run.has_delay() { self.goal_with_delay } else { self.goal }
    }

    fn others(&self, run: &Run) -> String {
        let Some((_, metric)) = self.baseline else { return String::new() };
        let tools = self.others.iter().chain(&["alone"]);
        let medians = tools.filter_map(|tool| {
            Some(format!("{tool} {}", number(run.figure(tool, metric)?.median)))
        });
        medians.collect::<Vec<_>>().join(", ")
    }

    /// The number of round trips: the time beyond that of the profile `none`, divided by the delay. `None` if they were
    /// not measured on the same machine and commit.
    fn round_trips_line(&self, ours: &Figure, run: &Run, runs: &[Run]) -> Option<String> {
        let (most, round_trip) = (self.round_trips?, run.round_trip_ms()?);
        let is_reference = |other: &&Run| {
            other.benchmark == run.benchmark
                && other.profile() == "none"
                && ["cpu", "commit"].iter().all(|key| other.about(key) == run.about(key))
        };
        let reference = runs.iter().find(is_reference)?.figure(self.ours.0, self.ours.1)?;
        let count = (ours.median - reference.median) / round_trip;
        Some(format!(
            "| {}, additional round trips | {} | {count:.2} | | | ≤ {most} | {} | {:.2} including computation |\n",
            self.title,
            run.profile(),
            // Tolerance: the number is an integer, but timers fire late.
            verdict(Some(count <= most + 0.2)),
            ours.median / round_trip,
        ))
    }
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
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

/// Three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
