use super::Metrics;

#[test]
fn the_page_has_every_metric() {
    let metrics = Metrics::default();
    metrics.counter("musterd_probes_total", "Probes.").inc_by(3);
    metrics
        .seconds("musterd_register_seconds", "Register.")
        .observe(0.0002);
    metrics
        .gauges("musterd_sizes", "Sizes.", &["collection"])
        .with_label_values(&["services"])
        .set(7);
    let page = metrics.render();
    for line in [
        "musterd_probes_total 3",
        "musterd_register_seconds_count 1",
        "musterd_register_seconds_bucket{le=\"0.0001\"} 0",
        "musterd_register_seconds_bucket{le=\"0.00025\"} 1",
        "musterd_sizes{collection=\"services\"} 7",
    ] {
        assert!(page.lines().any(|own| own == line), "{line} in {page}");
    }
}

#[test]
fn no_label_steers_a_terminal_or_ends_a_line() {
    let metrics = Metrics::default();
    metrics
        .gauges("musterd_queue", "Queues.", &["queue"])
        .with_label_values(&["a\n# HELP forged\r\u{1b}[31m\u{9b}\"\\"])
        .set(1);
    let page = metrics.render();
    let line = "musterd_queue{queue=\"a\\n# HELP forged\\\\r\\\\u{1b}[31m\\\\u{9b}\\\"\\\\\"} 1";
    assert_eq!(page.lines().last(), Some(line));
    assert!(!page.contains(|c: char| c.is_control() && c != '\n'));
}
