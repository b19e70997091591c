use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{Form, Frames, KEPT, KEPT_BYTES_MAX};
use crate::model::{Epoch, Event, EventKind, Revision, Timestamp};

fn event(revision: u64) -> Arc<Event> {
    Arc::new(Event {
        epoch: Epoch(0xab),
        revision: Revision(revision),
        kind: EventKind::Updated,
        service_id: None,
        service_name: None,
        status: None,
        previous_status: None,
        reason: None,
        timestamp: Timestamp(0),
        instance: None,
        route: None,
        encoded: OnceLock::new(),
    })
}

fn sent(frames: &Frames, revision: u64, json: &str) -> String {
    let mut out = VecDeque::new();
    frames.event(
        &event(revision),
        || Bytes::copy_from_slice(json.as_bytes()),
        &mut out,
    );
    assert!(out.front().unwrap().first && out.back().unwrap().last);
    let firsts = out.iter().filter(|piece| piece.first).count();
    let lasts = out.iter().filter(|piece| piece.last).count();
    assert_eq!((firsts, lasts), (1, 1));
    let bytes: Vec<u8> = out.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_event_is_framed_for_sse_and_websocket() {
    let check = |form, expected: &str| assert_eq!(sent(&Frames::new(form), 3, "{}"), expected);
    check(Form::Sse, "event: event\nid: ab-3\ndata: {}\n\n");
    check(Form::Socket, r#"{"type":"event","id":"ab-3","data":{}}"#);
}

#[test]
fn a_notice_has_no_id() {
    let check = |form: Form, expected: &str| {
        assert_eq!(form.frame("resync", None, b"{}"), expected.as_bytes());
    };
    check(Form::Sse, "event: resync\ndata: {}\n\n");
    check(Form::Socket, r#"{"type":"resync","id":null,"data":{}}"#);
}

#[test]
fn the_frame_of_an_event_is_built_once() {
    let frames = Frames::new(Form::Sse);
    let mut out = VecDeque::new();
    for _ in 0..3 {
        frames.event(&event(7), || Bytes::from_static(b"{}"), &mut out);
    }
    assert!(
        out.iter()
            .all(|piece| piece.bytes.as_ptr() == out[0].bytes.as_ptr())
    );
}

#[test]
fn a_late_reader_does_not_evict_newer_frames() {
    let frames = Frames::new(Form::Sse);
    let (old, new) = (5, 5 + KEPT as u64);
    sent(&frames, new, "{}");
    assert_eq!(
        sent(&frames, old, "[]"),
        "event: event\nid: ab-5\ndata: []\n\n"
    );
    let mut out = VecDeque::new();
    frames.event(&event(new), || panic!("it is kept"), &mut out);
}

#[test]
fn the_json_of_a_large_event_is_shared_and_not_copied() {
    let json = Bytes::from(format!("\"{}\"", "x".repeat(KEPT_BYTES_MAX)));
    let frames = Frames::new(Form::Socket);
    let mut out = VecDeque::new();
    frames.event(&event(1), || json.clone(), &mut out);
    assert!(
        out.iter()
            .any(|piece| piece.bytes.as_ptr() == json.as_ptr())
    );
    let text = std::str::from_utf8(&json).unwrap();
    let expected = format!("{{\"type\":\"event\",\"id\":\"ab-1\",\"data\":{text}}}");
    assert_eq!(sent(&frames, 1, text), expected);
}
