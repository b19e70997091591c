use super::{Cursor, Epoch, Revision};

#[test]
fn a_cursor_reads_back_what_it_writes() {
    let cursor = Cursor {
        epoch: Epoch(0x19ab_2233_4455),
        revision: Revision(17),
    };
    assert_eq!(cursor.to_string(), "19ab22334455-17");
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
}

#[test]
fn invalid_cursors_are_refused() {
    for text in [
        "",
        "-",
        "1-",
        "-1",
        "xyz-1",
        "1--1",
        "+1-1",
        "1-+1",
        "1-1 ",
        "1-99999999999999999999",
    ] {
        assert!(text.parse::<Cursor>().is_err(), "{text:?}");
    }
}
