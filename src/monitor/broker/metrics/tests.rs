use super::{Overview, Queues};
use crate::{broker::vhost::QueueSize, telemetry::Metrics};

fn size(name: &str, ready: usize) -> QueueSize {
    QueueSize {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        ready,
        unacked: 1,
        consumers: 0,
    }
}

fn ready_lines(metrics: &Metrics) -> Vec<String> {
    let page = metrics.render();
    let lines = page.lines();
    let own = lines.filter(|line| line.starts_with("musterd_broker_queue_messages_ready{"));
    own.map(str::to_owned).collect()
}

#[test]
fn queues_beyond_the_limit_are_added_up_and_those_that_left_are_not_shown() {
    let metrics = Metrics::default();
    let queues = Queues::new(&metrics);
    let sums = Overview {
        queues: 5,
        messages_ready: 20,
        messages_unacked: 5,
        ..Overview::default()
    };
    queues.show(vec![size("a", 9), size("b", 7)], &sums);
    assert_eq!(
        ready_lines(&metrics),
        [
            r#"musterd_broker_queue_messages_ready{queue="_others",vhost=""} 4"#,
            r#"musterd_broker_queue_messages_ready{queue="a",vhost="/"} 9"#,
            r#"musterd_broker_queue_messages_ready{queue="b",vhost="/"} 7"#,
        ]
    );
    let sums = Overview { queues: 1, ..sums };
    queues.show(vec![size("b", 8)], &sums);
    assert_eq!(
        ready_lines(&metrics),
        [r#"musterd_broker_queue_messages_ready{queue="b",vhost="/"} 8"#]
    );
}
