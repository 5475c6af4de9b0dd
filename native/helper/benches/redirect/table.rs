//! The table of results, and interleaving.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

/// The samples of one metric, per round.
pub struct Series {
    name: String,
    rounds: Vec<Vec<Duration>>,
}

impl Series {
    /// An empty series.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), rounds: vec![] }
    }

    /// Adds a round.
    pub fn push(&mut self, samples: Vec<Duration>) {
        self.rounds.push(samples);
    }

    /// Adds a round with one sample: the run time of `work`.
    pub fn time(&mut self, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        self.push(vec![start.elapsed()]);
    }

    /// A percentile of all samples.
    fn percentile(&self, percent: usize) -> Duration {
        percentile(percent, &self.rounds.concat())
    }

    /// Per round, because the load of the machine changes between rounds.
    fn ratios(&self, base: &Self) -> Vec<f64> {
        assert_eq!(self.rounds.len(), base.rounds.len());
        let median = |samples: &Vec<Duration>| percentile(50, samples).as_secs_f64();
        let rounds = self.rounds.iter().zip(&base.rounds);
        let mut ratios: Vec<_> = rounds.map(|(this, base)| median(this) / median(base)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }
}

fn percentile(percent: usize, samples: &[Duration]) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

/// The median of sorted values, and half of the width of its 95 % confidence interval, which does
/// not depend on the distribution.
fn median(sorted: &[f64]) -> (f64, f64) {
    let (middle, mut below) = (sorted.len() / 2, 0);
    // 0.98 is half of 1.96, the normal quantile: below² ≤ 0.98² × n, in integers.
    while (below + 1) * (below + 1) * 10_000 <= 9_604 * sorted.len() {
        below += 1;
    }
    let low = sorted[middle.saturating_sub(below + 1)];
    let high = sorted[(middle + below).min(sorted.len() - 1)];
    (sorted[middle], (high - low) / 2.0)
}

/// A section of the table. The first series is the baseline.
pub fn section(title: &str, all: &[&Series]) -> String {
    let mut out = format!("\n{title:<58}{:>10}{:>10}{:>8}{:>8}\n", "median", "p99", "ratio", "±");
    for series in all {
        let name = &series.name;
        let [middle, p99] = [50, 99].map(|percent| time(series.percentile(percent)));
        let (ratio, off) = median(&series.ratios(all[0]));
        writeln!(out, "  {name:<56}{middle:>10}{p99:>10}{ratio:>8.3}{off:>8.3}").unwrap();
    }
    out
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.001 {
        format!("{:.1} µs", seconds * 1e6)
    } else {
        format!("{:.2} ms", seconds * 1e3)
    }
}

/// Calls `work` for all, in another order each round.
pub fn in_turns<T>(round: usize, all: &mut [T], mut work: impl FnMut(&mut T)) {
    let count = all.len();
    for place in 0..count {
        let place = if (round / count).is_multiple_of(2) { place } else { count - 1 - place };
        work(&mut all[(round + place) % count]);
    }
}
