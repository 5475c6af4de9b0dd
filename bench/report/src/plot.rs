//! Bar charts of the medians. A line on each bar is the interquartile range of the rounds.

use std::{error::Error, path::Path};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

use crate::run::{Figure, Run};

const SIZE: (u32, u32) = (900, 380);
const TEXT: (&str, u32) = ("sans-serif", 13);

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// One bar in each group, with the same color in all groups.
struct Series {
    label: &'static str,
    tool: &'static str,
    /// Overrides the metric of the group.
    metric: Option<&'static str>,
}

struct Group<'a> {
    label: String,
    run: &'a Run,
    metric: &'static str,
}

const fn series(tool: &'static str) -> Series {
    Series { label: tool, tool, metric: None }
}

const TOOLS: &[Series] =
    &[series("ours"), series("kubectl"), series("spdy"), series("kube_rs"), series("direct")];
/// Without `direct`, whose rates are much higher than those of the others.
const CLIENTS: &[Series] = &[series("ours"), series("kubectl"), series("spdy"), series("kube_rs")];

const CONNECTS: &[Series] = &[
    Series { label: "connect/1", tool: "ours", metric: Some("connect_cold_ms") },
    Series { label: "connect/1, warm", tool: "ours", metric: Some("connect_warm_ms") },
    Series { label: "mix k8s.connect --rpc", tool: "ours", metric: Some("command_ms") },
    Series { label: "kubectl exec … rpc", tool: "exec", metric: Some("command_ms") },
    Series { label: "manual recipe", tool: "recipe", metric: Some("command_ms") },
];

const VERSIONS: &[Series] = &[series("first version"), series("now")];

/// Draws all plots for which there are runs. `first` are runs of an earlier version. Returns the names of the plots.
pub fn draw_all(
    runs: &[Run],
    first: &[Run],
    directory: &Path,
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut plots = Vec::new();
    let mut plot = |name: &str, title: &str, groups: Vec<Group>, series: &[Series]| -> Result {
        if !groups.is_empty() {
            draw(&directory.join(format!("{name}.svg")), title, &groups, series)?;
            plots.push(name.to_owned());
        }
        Ok(())
    };
    let profiles = runs.iter().filter(|run| run.benchmark == "connect");
    let profiles = profiles.map(|run| Group { label: run.profile().into(), run, metric: "" });
    plot("connect", "time to connect, ms, by profile", profiles.collect(), CONNECTS)?;

    // Only the profile with the shortest round trip: in the others the network dominates.
    let groups = |benchmark: &str, metrics: &[(&str, &'static str)]| -> Vec<Group> {
        let Some(run) = runs.iter().find(|run| run.benchmark == benchmark) else { return vec![] };
        metrics
            .iter()
            .map(|(label, metric)| Group { label: (*label).into(), run, metric })
            .collect()
    };
    let calls = [
        ("64 B, p50", "erpc_64_p50_us"),
        ("4 KiB, p50", "erpc_4096_p50_us"),
        ("64 B, p99", "erpc_64_p99_us"),
        ("4 KiB, p99", "erpc_4096_p99_us"),
    ];
    plot("latency", "distribution call, µs", groups("latency", &calls), TOOLS)?;
    let cpu = [
        ("messages, down", "dist_down_cpu_ms_per_mb"),
        ("messages, up", "dist_up_cpu_ms_per_mb"),
        ("raw, down", "raw_down_cpu_ms_per_mb"),
        ("raw, up", "raw_up_cpu_ms_per_mb"),
    ];
    plot("cpu", "CPU time of the client's processes, ms/MB", groups("throughput", &cpu), TOOLS)?;
    let rates = [
        ("messages, down", "dist_down_mb_per_s"),
        ("messages, up", "dist_up_mb_per_s"),
        ("raw, down", "raw_down_mb_per_s"),
        ("raw, up", "raw_up_mb_per_s"),
    ];
    plot("rate", "MB/s", groups("throughput", &rates), CLIENTS)?;
    let memory = [
        ("a session, PSS", "memory_1_pss_mb"),
        ("all sessions, PSS", "memory_all_pss_mb"),
        ("all sessions, anonymous", "memory_all_anon_mb"),
    ];
    plot("memory", "memory of the client, MB", groups("memory", &memory), &CLIENTS[..2])?;

    let without_delay = |runs: &[Run]| -> Vec<Run> {
        runs.iter().filter(|run| !run.has_delay()).cloned().collect()
    };
    let (first, now) = (without_delay(first), without_delay(runs));
    let run = Run::ratios(&[("first version", &first), ("now", &now)]);
    let ratios = [
        ("64 B, p50", "erpc_64_p50_us"),
        ("64 B, p99", "erpc_64_p99_us"),
        ("beside bulk, p50", "erpc_64_beside_bulk_p50_us"),
        ("CPU, down", "dist_down_cpu_ms_per_mb"),
        ("CPU, up", "dist_up_cpu_ms_per_mb"),
        ("rate, down", "dist_down_mb_per_s"),
        ("rate, up", "dist_up_mb_per_s"),
    ];
    let group =
        |(label, metric): (&str, &'static str)| Group { label: label.into(), run: &run, metric };
    let ratios = if first.is_empty() { vec![] } else { ratios.map(group).into() };
    plot("ratios", "k8s_connect / kubectl port-forward", ratios, VERSIONS)?;
    Ok(plots)
}

/// The bars to draw: index of the group, index of the series, figure.
fn bars<'a>(
    groups: &'a [Group],
    series: &'a [Series],
) -> impl Iterator<Item = (usize, usize, &'a Figure)> {
    groups.iter().enumerate().flat_map(move |(group, Group { run, metric, .. })| {
        let figure = move |(index, Series { tool, metric: own, .. }): (usize, &Series)| {
            Some((group, index, run.figure(tool, own.unwrap_or(metric))?))
        };
        series.iter().enumerate().filter_map(figure)
    })
}

#[allow(clippy::cast_precision_loss)]
fn draw(path: &Path, title: &str, groups: &[Group], series: &[Series]) -> Result {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (legend, rest) = area.split_vertically(60);
    draw_legend(&legend, title, series)?;

    let top = bars(groups, series).map(|(_, _, figure)| figure.p75).fold(0.0, f64::max);
    let mut chart: Chart = ChartBuilder::on(&rest)
        .margin(10)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 25)
        .build_cartesian_2d(0.0..groups.len() as f64, 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * groups.len() + 1)
        .x_label_formatter(&|x| label_at(*x, groups))
        .light_line_style(TRANSPARENT)
        .label_style(TEXT)
        .draw()?;

    let width = 0.8 / series.len() as f64;
    for (group, index, figure) in bars(groups, series) {
        let left = group as f64 + 0.1 + index as f64 * width;
        let color = Palette99::pick(index).filled();
        let bar = [(left, 0.0), (left + width * 0.9, figure.median)];
        let center = left + width * 0.45;
        let spread = [(center, figure.p25), (center, figure.p75)];
        chart.draw_series([Rectangle::new(bar, color)])?;
        chart.draw_series([PathElement::new(spread, BLACK)])?;
    }
    area.present()?;
    Ok(())
}

/// The label of a group is at its center.
fn label_at(x: f64, groups: &[Group]) -> String {
    let is_center = (x.fract() - 0.5).abs() < 1e-6;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let group = groups.get(x as usize);
    group.filter(|_| is_center).map_or(String::new(), |group| group.label.clone())
}

fn draw_legend(area: &DrawingArea<SVGBackend, Shift>, title: &str, series: &[Series]) -> Result {
    area.draw(&Text::new(title.to_owned(), (60, 12), ("sans-serif", 16)))?;
    let mut x = 60;
    for (index, one) in series.iter().enumerate() {
        let color = Palette99::pick(index).filled();
        area.draw(&Rectangle::new([(x, 38), (x + 12, 50)], color))?;
        area.draw(&Text::new(one.label, (x + 18, 38), TEXT))?;
        x += 40 + 8 * i32::try_from(one.label.chars().count())?;
    }
    Ok(())
}
