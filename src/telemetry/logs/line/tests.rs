use std::sync::Arc;

use tracing_subscriber::{Layer, fmt, layer::SubscriberExt};

use super::{
    super::queue::{LineQueue, Lines},
    Text,
};

/// What is logged as text by `log`.
fn logged(log: impl FnOnce()) -> String {
    let queue = LineQueue::new(1 << 20);
    let text = fmt::layer()
        .event_format(Text { coloured: false })
        .with_writer(Lines::text(&queue))
        .boxed();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(text), log);
    String::from_utf8(Arc::clone(&queue).drained()).unwrap()
}

#[test]
fn quoted_text_never_ends_a_log_line() {
    const FORGED: &str = "x\n2026-01-01T00:00:00Z  WARN forged\x1b[31m\r";
    let text = logged(|| {
        tracing::info!(display = %FORGED, debug = ?FORGED, plain = FORGED, "quotes {FORGED}");
    });
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(!text.contains('\x1b') && !text.contains('\r'), "{text:?}");
    assert!(text.ends_with('\n'), "{text:?}");
}

#[test]
fn a_line_has_its_time_level_target_message_and_fields() {
    let text = logged(|| {
        tracing::warn!(target: "musterd::here", service = %"a", took_ms = 7, "two \"words\"");
    });
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    assert_eq!(
        rest,
        " WARN musterd::here: two \"words\" service=a took_ms=7\n"
    );
}

#[test]
fn a_field_that_the_message_mentions_is_not_repeated() {
    let (id, error) = (7_u64, "no route to host");
    let text = logged(|| {
        tracing::info!(
            connection.id = id,
            error,
            left = 1_u64,
            "connection {id} of 127.0.0.1 closed: {error}"
        );
    });
    assert!(
        text.ends_with(": connection 7 of 127.0.0.1 closed: no route to host left=1\n"),
        "{text}"
    );
    let text = logged(|| tracing::info!(count = 7_u64, "77 of them"));
    assert!(text.ends_with(": 77 of them count=7\n"), "{text}");
}
