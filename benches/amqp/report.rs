//! The table, ready to be pasted into a document.

use crate::cases::Sample;

/// What a case must reach against RabbitMQ: shares of its figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// At least so many times RabbitMQ's rate.
    pub(crate) rate: f64,
    /// At most this share of its CPU time per message.
    pub(crate) cpu: f64,
    /// At most this share of its median latency.
    pub(crate) p50: f64,
    /// At most this share of its 99th percentile.
    pub(crate) p99: f64,
}

/// Promises nothing, as a start for the cases' own.
pub(crate) const ANY: Target = Target {
    rate: 0.0,
    cpu: f64::INFINITY,
    p50: f64::INFINITY,
    p99: f64::INFINITY,
};

/// The pairs of one case: musterd's sample and RabbitMQ's of each.
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) target: Target,
    pub(crate) pairs: Vec<(Sample, Sample)>,
}

impl Comparison {
    /// Prints the row; returns whether the target was reached.
    pub(crate) fn print(&self) -> bool {
        let ratio = |of: fn(&Sample) -> f64| {
            median(
                self.pairs
                    .iter()
                    .map(|(ours, theirs)| of(ours) / of(theirs)),
            )
        };
        let (rate, cpu) = (ratio(|sample| sample.rate), ratio(|sample| sample.cpu_us));
        let p50 = ratio(|sample| sample.p50_us.unwrap_or(f64::NAN));
        let p99 = ratio(|sample| sample.p99_us.unwrap_or(f64::NAN));
        let misses = [
            (rate < self.target.rate, "rate"),
            (cpu > self.target.cpu, "cpu"),
            (p50 > self.target.p50, "p50"),
            (p99 > self.target.p99, "p99"),
        ];
        let missed: Vec<_> = misses
            .iter()
            .filter(|(missed, _)| *missed)
            .map(|(_, what)| *what)
            .collect();
        let verdict = if missed.is_empty() {
            "reached".to_owned()
        } else {
            format!("**missed: {}**", missed.join(", "))
        };
        println!(
            "| {} | {} | {} | {rate:.2}x | {cpu:.3} | {} | {} | {verdict} |",
            self.name,
            figures(self.pairs.iter().map(|pair| &pair.0)),
            figures(self.pairs.iter().map(|pair| &pair.1)),
            share(p50),
            share(p99),
        );
        missed.is_empty()
    }
}

/// Runs both in turn; each goes first every other time.
pub(crate) fn pairs(
    name: &str,
    count: usize,
    ours: impl Fn() -> Sample,
    theirs: impl Fn() -> Sample,
) -> Vec<(Sample, Sample)> {
    let run = |pair| {
        eprint!("\r{name} {pair}/{count}   ");
        if pair % 2 == 1 {
            let first = ours();
            (first, theirs())
        } else {
            let first = theirs();
            (ours(), first)
        }
    };
    (1..=count).map(run).collect()
}

/// The head of the comparisons' table.
pub(crate) fn print_head(ours: &str, theirs: &str) {
    println!(
        "\n| case | {ours}: rate/s, CPU, p50, p99 | {theirs}: the same | rate | CPU | p50 | p99 | target |"
    );
    println!("|---|---|---|---|---|---|---|---|");
}

/// The head of the limits' table.
pub(crate) fn print_limits_head() {
    println!("\n| limit | musterd | RabbitMQ | target | |\n|---|---|---|---|---|");
}

/// A figure of musterd's alone against its limit.
pub(crate) fn print_limit(
    name: &str,
    figure: f64,
    limit: f64,
    unit: &str,
    rival: Option<f64>,
) -> bool {
    let reached = figure <= limit;
    let verdict = if reached { "reached" } else { "**missed**" };
    let rival = rival.map_or_else(|| "-".to_owned(), |rival| format!("{rival:.2} {unit}"));
    println!("| {name} | {figure:.2} {unit} | {rival} | at most {limit} {unit} | {verdict} |");
    reached
}

/// One side's medians.
pub(crate) fn figures<'a>(samples: impl Iterator<Item = &'a Sample> + Clone) -> String {
    let mut text = format!(
        "{}, {}",
        thousands(median(samples.clone().map(|sample| sample.rate))),
        micros(median(samples.clone().map(|sample| sample.cpu_us)))
    );
    if samples.clone().any(|sample| sample.p50_us.is_some()) {
        let of = |of: fn(&Sample) -> Option<f64>| {
            micros(median(
                samples.clone().map(|sample| of(sample).unwrap_or(f64::NAN)),
            ))
        };
        text += &format!(
            ", {}, {}",
            of(|sample| sample.p50_us),
            of(|sample| sample.p99_us)
        );
    }
    text
}

/// The middle one; of an even number the lower middle.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.filter(|figure| !figure.is_nan()).collect();
    figures.sort_by(f64::total_cmp);
    figures
        .get(figures.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(f64::NAN)
}

fn share(ratio: f64) -> String {
    if ratio.is_nan() {
        "-".to_owned()
    } else {
        format!("{ratio:.3}")
    }
}

fn micros(figure: f64) -> String {
    match figure {
        figure if figure >= 1000.0 => format!("{:.2} ms", figure / 1000.0),
        figure if figure >= 100.0 => format!("{figure:.0} µs"),
        figure => format!("{figure:.2} µs"),
    }
}

pub(crate) fn thousands(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
