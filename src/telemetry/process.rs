//! The process among the metrics, by the names that every Prometheus client library uses; and what was built.

use std::{fs, time::SystemTime};

use super::Metrics;

/// Clock ticks a second in `/proc`: the same on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Shows `musterd_build_info` and, where there is `/proc`, `process_*`.
pub(super) fn show_process(metrics: &Metrics) {
    let build = metrics.gauges(
        "musterd_build_info",
        "1, with the version in a label.",
        &["version"],
    );
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let Some(started) = Stat::read() else {
        return;
    };
    let gauge = |name, help| metrics.decimals(name, help, &[]);
    let since = gauge(
        "process_start_time_seconds",
        "Start time of the process, in seconds since 1970.",
    );
    since
        .with_label_values::<&str>(&[])
        .set(started_at(&started));
    let cpu = metrics.fraction(
        "process_cpu_seconds_total",
        "CPU time of the process in user and system mode, in seconds.",
    );
    let threads = metrics.gauge("process_threads", "Threads of the process.");
    let resident = metrics.gauge("process_resident_memory_bytes", "Resident memory in bytes.");
    let virtual_memory = metrics.gauge("process_virtual_memory_bytes", "Virtual memory in bytes.");
    let files = metrics.gauge("process_open_fds", "Open file descriptors.");
    let files_max = metrics.gauge(
        "process_max_fds",
        "The most file descriptors that may be open.",
    );
    metrics.before_render(move || {
        if let Some(now) = Stat::read() {
            cpu.inc_by((now.cpu_s - cpu.get()).max(0.0));
            threads.set(now.threads);
            resident.set(now.resident_bytes);
            virtual_memory.set(now.virtual_bytes);
        }
        files.set(open_files());
        files_max.set(open_files_max());
    });
}

/// The figures of `/proc/self/stat`.
#[derive(Debug)]
struct Stat {
    cpu_s: f64,
    threads: i64,
    /// Since the machine started.
    started_s: f64,
    virtual_bytes: i64,
    resident_bytes: i64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?, page_bytes())
    }

    /// See proc_pid_stat(5): the name is in parentheses and may hold anything.
    fn parse(text: &str, page_bytes: i64) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // The state, which comes first here, is field 3 there.
        let field = |number: usize| fields.get(number - 3).copied();
        let ticks = |number| Some(field(number)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        let whole = |number| field(number)?.parse::<i64>().ok();
        Some(Self {
            cpu_s: ticks(14)? + ticks(15)?,
            threads: whole(20)?,
            started_s: ticks(22)?,
            virtual_bytes: whole(23)?,
            resident_bytes: whole(24)? * page_bytes,
        })
    }
}

/// The size of a page, from a mapping's own account; 4 KiB where the system does not say.
fn page_bytes() -> i64 {
    let read = || {
        let maps = fs::read_to_string("/proc/self/smaps").ok()?;
        let line = maps
            .lines()
            .find_map(|line| line.strip_prefix("KernelPageSize:"))?;
        line.trim().strip_suffix(" kB")?.parse::<i64>().ok()
    };
    read().map_or(4096, |kib| kib * 1024)
}

/// In seconds since 1970.
fn started_at(stat: &Stat) -> f64 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime
        .split(' ')
        .next()
        .and_then(|text| text.parse::<f64>().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0.0, |since| since.as_secs_f64());
    now - uptime.map_or(0.0, |uptime| uptime - stat.started_s)
}

/// The folder's size since Linux 6.2; the number of its entries before.
fn open_files() -> i64 {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).map_or(0, |folder| folder.len());
    let counted = || fs::read_dir(folder).map_or(0, Iterator::count) as u64;
    i64::try_from(if size > 0 { size } else { counted() }).unwrap_or(i64::MAX)
}

fn open_files_max() -> i64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Stat, show_process};

    #[test]
    fn the_name_of_the_process_does_not_shift_the_fields() {
        let fields: Vec<_> = (3..=52).map(|number| number.to_string()).collect();
        let text = format!("1 (a) b ( c) {}", fields.join(" "));
        let stat = Stat::parse(&text, 4096).unwrap();
        assert_eq!(stat.cpu_s, 0.14 + 0.15);
        assert_eq!(stat.threads, 20);
        assert_eq!(stat.started_s, 0.22);
        assert_eq!((stat.virtual_bytes, stat.resident_bytes), (23, 24 * 4096));
        assert!(Stat::parse("1 (a) S 1", 4096).is_none());
    }

    #[test]
    fn this_process_is_shown() {
        let metrics = Metrics::default();
        show_process(&metrics);
        let page = metrics.render();
        let value = |name: &str| {
            let line = page
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        };
        for name in [
            "process_threads",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_open_fds",
            "process_max_fds",
        ] {
            assert!(value(name).unwrap() >= 1.0, "{name} in {page}");
        }
        // After 2020, and not in the future.
        assert!(
            value("process_start_time_seconds").unwrap() > 1.6e9,
            "{page}"
        );
        assert!(page.contains("musterd_build_info{version="), "{page}");
    }
}
