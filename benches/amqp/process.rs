//! What /proc shows of a process.

use std::fs;

/// CPU time a process has used so far, in µs; the kernel counts in steps of 10 ms.
pub(crate) fn cpu_us(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields = fields.split_whitespace().skip(11).take(2);
    fields
        .map(|ticks| ticks.parse::<f64>().expect("a number of ticks") * 10_000.0)
        .sum()
}

/// Resident memory of a process, or of `self`, in bytes.
pub(crate) fn resident(pid: &str) -> f64 {
    memory(pid, "VmRSS:")
}

/// One of the sizes in a process's status, in bytes.
pub(crate) fn memory(pid: &str, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status
        .lines()
        .find(|line| line.starts_with(field))
        .expect("a size in the status");
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a number of KiB");
    kib * 1024.0
}
