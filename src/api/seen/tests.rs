use super::Seen;
use crate::model::{Cursor, Epoch, Revision};

#[test]
fn cursors_and_revisions_are_parsed() {
    let check = |text: &str, expected: Seen| assert_eq!(Seen::parse(text), expected, "{text:?}");
    let cursor = Cursor {
        epoch: Epoch(0xab),
        revision: Revision(12),
    };
    check("ab-12", Seen::Cursor(cursor));
    check(" ab-12 ", Seen::Cursor(cursor));
    check("12", Seen::Revision(Revision(12)));
    check("0", Seen::Revision(Revision(0)));
    for text in [
        "",
        "-",
        "ab-",
        "-3",
        "+3",
        "ab-+3",
        "x-1",
        "99999999999999999999",
        "ab-12-1",
        "é",
    ] {
        check(text, Seen::Unreadable);
    }
}
