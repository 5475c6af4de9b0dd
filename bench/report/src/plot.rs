//! Plots, each of the same kind: groups of bars with the middle half of the rounds as a line.

use std::{error::Error, path::Path};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

use crate::run::{Figure, Run};

const SIZE: (u32, u32) = (900, 380);
const TEXT: (&str, u32) = ("sans-serif", 13);

type Drawn = Result<(), Box<dyn Error>>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Bars of one color, whatever group they are in.
struct Kind {
    label: &'static str,
    who: &'static str,
    /// Instead of the group's.
    name: Option<&'static str>,
}

struct Group<'a> {
    label: String,
    run: &'a Run,
    name: &'static str,
}

const fn kind(who: &'static str) -> Kind {
    Kind { label: who, who, name: None }
}

const WAYS: &[Kind] =
    &[kind("ours"), kind("kubectl"), kind("spdy"), kind("kube_rs"), kind("direct")];
/// For what is far beyond all others where the pod is a neighbour.
const CLIENTS: &[Kind] = &[kind("ours"), kind("kubectl"), kind("spdy"), kind("kube_rs")];

const CONNECTS: &[Kind] = &[
    Kind { label: "connect/1", who: "ours", name: Some("connect_cold_ms") },
    Kind { label: "connect/1, warm", who: "ours", name: Some("connect_warm_ms") },
    Kind { label: "mix k8s.connect --rpc", who: "ours", name: Some("command_ms") },
    Kind { label: "kubectl exec … rpc", who: "exec", name: Some("command_ms") },
    Kind { label: "the article by hand", who: "recipe", name: Some("command_ms") },
];

/// Draws what the runs have, and answers the plots' names.
pub fn draw_all(runs: &[Run], directory: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut plots = Vec::new();
    let mut plot = |name: &str, title: &str, groups: Vec<Group>, kinds: &[Kind]| -> Drawn {
        if !groups.is_empty() {
            draw(&directory.join(format!("{name}.svg")), title, &groups, kinds)?;
            plots.push(name.to_owned());
        }
        Ok(())
    };
    let distances = runs.iter().filter(|run| run.benchmark == "connect");
    let distances = distances.map(|run| Group { label: run.profile().into(), run, name: "" });
    plot("connect", "to a connected node, ms, by distance", distances.collect(), CONNECTS)?;

    // The nearest; for the others the way takes most of it.
    let of = |benchmark: &str, names: &[(&str, &'static str)]| -> Vec<Group> {
        let Some(run) = runs.iter().find(|run| run.benchmark == benchmark) else { return vec![] };
        names.iter().map(|(label, name)| Group { label: (*label).into(), run, name }).collect()
    };
    let calls = [
        ("64 B, p50", "erpc_64_p50_us"),
        ("4 KiB, p50", "erpc_4096_p50_us"),
        ("64 B, p99", "erpc_64_p99_us"),
        ("4 KiB, p99", "erpc_4096_p99_us"),
    ];
    plot("latency", "a call over the distribution, µs", of("latency", &calls), WAYS)?;
    let cpu = [
        ("messages, down", "dist_down_cpu_ms_per_mb"),
        ("messages, up", "dist_up_cpu_ms_per_mb"),
        ("raw, down", "raw_down_cpu_ms_per_mb"),
        ("raw, up", "raw_up_cpu_ms_per_mb"),
    ];
    plot("cpu", "CPU of the client's processes, ms for a MB", of("throughput", &cpu), WAYS)?;
    let rates = [
        ("messages, down", "dist_down_mb_per_s"),
        ("messages, up", "dist_up_mb_per_s"),
        ("raw, down", "raw_down_mb_per_s"),
        ("raw, up", "raw_up_mb_per_s"),
    ];
    plot("rate", "MB/s", of("throughput", &rates), CLIENTS)?;
    let memory = [
        ("a session, PSS", "memory_1_pss_mb"),
        ("all sessions, PSS", "memory_all_pss_mb"),
        ("all sessions, not of files", "memory_all_anon_mb"),
    ];
    plot("memory", "memory of the client, MB", of("memory", &memory), &CLIENTS[..2])?;
    Ok(plots)
}

/// What is drawn: the group's number, the bar's in it, and the figure.
fn bars<'a>(
    groups: &'a [Group],
    kinds: &'a [Kind],
) -> impl Iterator<Item = (usize, usize, &'a Figure)> {
    groups.iter().enumerate().flat_map(move |(group, Group { run, name, .. })| {
        let figure = move |(kind, Kind { who, name: own, .. }): (usize, &Kind)| {
            Some((group, kind, run.figure(who, own.unwrap_or(name))?))
        };
        kinds.iter().enumerate().filter_map(figure)
    })
}

#[allow(clippy::cast_precision_loss)]
fn draw(path: &Path, title: &str, groups: &[Group], kinds: &[Kind]) -> Drawn {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (legend, rest) = area.split_vertically(60);
    draw_legend(&legend, title, kinds)?;

    let top = bars(groups, kinds).map(|(_, _, figure)| figure.p75).fold(0.0, f64::max);
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

    let width = 0.8 / kinds.len() as f64;
    for (group, kind, figure) in bars(groups, kinds) {
        let left = group as f64 + 0.1 + kind as f64 * width;
        let color = Palette99::pick(kind).filled();
        let bar = [(left, 0.0), (left + width * 0.9, figure.median)];
        let middle = left + width * 0.45;
        let spread = [(middle, figure.p25), (middle, figure.p75)];
        chart.draw_series([Rectangle::new(bar, color)])?;
        chart.draw_series([PathElement::new(spread, BLACK)])?;
    }
    area.present()?;
    Ok(())
}

/// A group's label stands at its middle.
fn label_at(x: f64, groups: &[Group]) -> String {
    let is_middle = (x.fract() - 0.5).abs() < 1e-6;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let group = groups.get(x as usize);
    group.filter(|_| is_middle).map_or(String::new(), |group| group.label.clone())
}

fn draw_legend(area: &DrawingArea<SVGBackend, Shift>, title: &str, kinds: &[Kind]) -> Drawn {
    area.draw(&Text::new(title.to_owned(), (60, 12), ("sans-serif", 16)))?;
    let mut x = 60;
    for (index, kind) in kinds.iter().enumerate() {
        let color = Palette99::pick(index).filled();
        area.draw(&Rectangle::new([(x, 38), (x + 12, 50)], color))?;
        area.draw(&Text::new(kind.label, (x + 18, 38), TEXT))?;
        x += 40 + 8 * i32::try_from(kind.label.chars().count())?;
    }
    Ok(())
}
