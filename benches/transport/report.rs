//! Medians of pairs, and whether a target was reached.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use crate::pace::Latencies;

/// The runs of both modes, pair by pair.
pub(crate) type Halves = Vec<[Latencies; 2]>;

/// Runs both in turn; each goes first every other time.
pub(crate) fn pairs<T>(
    count: usize,
    [one, other]: [&'static str; 2],
    mut run: impl FnMut(&'static str) -> T,
) -> Vec<[T; 2]> {
    (0..count)
        .map(|pair| {
            if pair % 2 == 0 {
                let first = run(one);
                [first, run(other)]
            } else {
                let first = run(other);
                [run(one), first]
            }
        })
        .collect()
}

/// The middle one; of an even number the lower middle.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len().saturating_sub(1) / 2;
    figures.get(middle).copied().unwrap_or(f64::NAN)
}

/// A row of latency in queue against direct; whether p50 is within 10 % and p99 within 30 %.
pub(crate) fn compared(name: &str, halves: &Halves) -> bool {
    let of =
        |side: usize, at: fn(&Latencies) -> f64| median(halves.iter().map(|pair| at(&pair[side])));
    let ratio = |at: fn(&Latencies) -> f64| {
        median(halves.iter().map(|[queue, direct]| at(queue) / at(direct)))
    };
    let (p50, p99) = (ratio(Latencies::p50), ratio(Latencies::p99));
    let reached = p50 <= 1.1 && p99 <= 1.3;
    println!(
        "| {name} | {:.0}, {:.0} µs | {:.0}, {:.0} µs | {p50:.2} (1.1) | {p99:.2} (1.3) | {} |",
        of(0, Latencies::p50),
        of(0, Latencies::p99),
        of(1, Latencies::p50),
        of(1, Latencies::p99),
        verdict(reached)
    );
    reached
}

/// A row of latency against a limit for p50, in µs.
pub(crate) fn limited(name: &str, runs: &[Latencies], limit: f64) -> bool {
    let of = |at: fn(&Latencies) -> f64| median(runs.iter().map(at));
    let p50 = of(Latencies::p50);
    let reached = p50 <= limit;
    println!(
        "| {name} | {p50:.0}, {:.0} µs | at most {limit:.0} µs | {} |",
        of(Latencies::p99),
        verdict(reached)
    );
    reached
}

pub(crate) fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "**missed**" }
}
