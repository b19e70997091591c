use super::*;

#[test]
fn the_first_lines_of_an_interval_are_written_and_the_others_counted() {
    let limiter = LogLimiter::default();
    let written = (0..25).filter(|_| limiter.allows()).count();
    assert_eq!((written, limiter.end_interval()), (10, 15));
    assert_eq!(limiter.end_interval(), 0, "no line since");
    let written = (0..3).filter(|_| limiter.allows()).count();
    assert_eq!((written, limiter.end_interval()), (3, 0));
}

#[test]
fn text_from_clients_is_cut_between_characters() {
    for (text, cut_to) in [
        (String::new(), String::new()),
        ("n".repeat(100), "n".repeat(100)),
        ("n".repeat(4000), format!("{}…", "n".repeat(100))),
        ("ü".repeat(101), format!("{}…", "ü".repeat(100))),
    ] {
        assert_eq!(cut(&text), cut_to);
    }
}
