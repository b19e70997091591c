//! The transport among the metrics: read off its report when a page is made.

use super::figures::{MetricRow, raise, set};
use crate::{
    api::{TransportChannel, TransportReport},
    model::Mode,
    telemetry::{IntCounterVec, IntGaugeVec, Metrics},
    transport::TransportSwitch,
};

const COUNTERS: [MetricRow<TransportChannel>; 6] = [
    (
        "musterd_transport_sent_total",
        "Messages the broker confirmed, commands answered.",
        |channel| channel.sent,
    ),
    (
        "musterd_transport_failed_total",
        "Messages the broker refused or left unanswered, commands not answered.",
        |channel| channel.failed,
    ),
    (
        "musterd_transport_compared_total",
        "Items that came both ways.",
        |channel| channel.comparison.compared,
    ),
    (
        "musterd_transport_missing_total",
        "Items that came only directly.",
        |channel| channel.comparison.missing,
    ),
    (
        "musterd_transport_late_total",
        "Items that came over the broker later than transport.amqp.late_after.",
        |channel| channel.comparison.late,
    ),
    (
        "musterd_transport_different_total",
        "Items that differed over the broker.",
        |channel| channel.comparison.different,
    ),
];

/// Shows it from now on.
pub(super) fn show(metrics: &Metrics, transports: TransportSwitch) {
    let modes = metrics.gauges(
        "musterd_transport_mode",
        "1 for the mode in which a channel is.",
        &["channel", "mode"],
    );
    let lag = metrics.gauges(
        "musterd_transport_lag_events",
        "Changes the broker has not confirmed yet.",
        &["channel"],
    );
    let counters = COUNTERS.map(|(name, help, _)| metrics.counters(name, help, &["channel"]));
    let up = metrics.gauge(
        "musterd_transport_broker_up",
        "1 while there is a connection to the broker.",
    );
    let silent = metrics.decimals(
        "musterd_transport_broker_silent_seconds",
        "For how long the broker has not answered.",
        &[],
    );
    let connections = metrics.counter(
        "musterd_transport_connections_total",
        "Connections made to the broker.",
    );
    let dead_letters = metrics.counter(
        "musterd_transport_dead_letters_total",
        "Messages put into musterd.dead because they could not be read.",
    );
    let answers_lost = metrics.counter(
        "musterd_transport_answers_lost_total",
        "Answers to commands that could not be sent, most likely because their reply_to was made up.",
    );
    metrics.before_render(move || {
        let report = transports.report();
        show_channels(&report, &modes, &lag, &counters);
        up.set((report.broker.state == "up").into());
        let seconds = report.broker.silent.unwrap_or_default().as_secs_f64();
        silent.with_label_values::<&str>(&[]).set(seconds);
        raise(&connections, report.broker.connections);
        raise(&dead_letters, report.broker.dead_letters);
        raise(&answers_lost, report.broker.answers_lost);
    });
}

fn show_channels(
    report: &TransportReport,
    modes: &IntGaugeVec,
    lag: &IntGaugeVec,
    counters: &[IntCounterVec],
) {
    for channel in &report.channels {
        let name = channel.channel.as_str();
        for mode in Mode::ALL {
            let is = i64::from(channel.mode == mode);
            modes.with_label_values(&[name, mode.as_str()]).set(is);
        }
        if let Some(behind) = channel.lag {
            // In mode direct nothing is to be confirmed.
            let behind = if channel.mode.uses_broker() {
                behind
            } else {
                0
            };
            set(&lag.with_label_values(&[name]), behind);
        }
        for (counter, (_, _, value)) in counters.iter().zip(COUNTERS) {
            raise(&counter.with_label_values(&[name]), value(channel));
        }
    }
}
