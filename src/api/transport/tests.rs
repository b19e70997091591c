use super::*;

const NOW: Modes = Modes {
    events: Mode::Dual,
    health: Mode::Direct,
    discovery: Mode::Dual,
};

#[track_caller]
fn check(body: &str, wanted: Result<Modes, &[&str]>) {
    let read = FlagDraft::read(body.as_bytes()).map(|(draft, _)| draft.applied_to(NOW));
    match (read, wanted) {
        (Ok(modes), Ok(wanted)) => assert_eq!(modes, wanted, "{body}"),
        (Err(problem), Err(fields)) => {
            let named: Vec<_> = problem.errors.iter().map(|error| &*error.field).collect();
            assert_eq!(named, fields, "{body}");
        }
        (read, wanted) => panic!("{body}: {read:?}, not {wanted:?}"),
    }
}

#[test]
fn a_channels_own_mode_overrides_the_common_one() {
    check(r#"{"mode":"queue"}"#, Ok(Modes::all(Mode::Queue)));
    check(r#"{"mode":"DIRECT"}"#, Ok(Modes::all(Mode::Direct)));
    let events = NOW.with(Channel::Events, Mode::Queue);
    check(r#"{"channels":{"events":"queue"}}"#, Ok(events));
    check(
        r#"{"channels":{"events":{"mode":"queue","lag":3}}}"#,
        Ok(events),
    );
    let mixed = Modes::all(Mode::Direct).with(Channel::Health, Mode::Dual);
    check(
        r#"{"mode":"direct","channels":{"health":"dual"}}"#,
        Ok(mixed),
    );
}

#[test]
fn the_fault_is_named() {
    check("{}", Err(&["mode"]));
    check(r#"{"channels":{}}"#, Err(&["mode"]));
    check(r#"{"mode":"both"}"#, Err(&["mode"]));
    check(r#"{"channels":"queue"}"#, Err(&["channels"]));
    check(
        r#"{"channels":{"event":"queue","health":"x"}}"#,
        Err(&["channels.event", "channels.health"]),
    );
    check(r#"{"channels":{"events":{}}}"#, Err(&["channels.events"]));
}
