use super::{Phase, Plan};
use crate::model::{Channel, Mode, Modes};

#[track_caller]
fn check(modes: Modes, phases: &[Phase]) {
    let plan = Plan::from(modes);
    let planned: Vec<_> = plan.steps().iter().map(|(phase, _)| *phase).collect();
    assert_eq!(planned, phases, "{modes}");
    let (_, last) = plan.steps().last().unwrap();
    assert_eq!(*last, Modes::all(Mode::Queue), "{modes}");
    // Each phase changes at most one channel, and never back.
    let mut before = modes;
    for (phase, after) in plan.steps() {
        let changed = Channel::ALL
            .into_iter()
            .filter(|channel| before.of(*channel) != after.of(*channel));
        let changed: Vec<_> = changed.collect();
        assert!(changed.len() <= 1, "{phase}: {changed:?}");
        for channel in changed {
            assert!(before.of(channel) as u8 <= after.of(channel) as u8);
            assert_eq!(phase.sets().map(|(channel, _)| channel), Some(channel));
        }
        before = *after;
    }
}

#[test]
fn a_plan_starts_from_the_current_modes() {
    use Phase::{
        Baseline, DiscoveryDual, DiscoveryQueue, Done, EventsDual, EventsQueue, HealthDual,
        HealthQueue,
    };
    let direct = Modes::all(Mode::Direct);
    check(direct, &Phase::ALL);
    // As it is out of the box.
    let usual = Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct);
    check(usual, &Phase::ALL);
    check(
        direct.with(Channel::Health, Mode::Queue),
        &[
            Baseline,
            EventsDual,
            EventsQueue,
            DiscoveryDual,
            DiscoveryQueue,
            Done,
        ],
    );
    check(
        usual.with(Channel::Events, Mode::Queue),
        &[
            Baseline,
            HealthDual,
            HealthQueue,
            DiscoveryDual,
            DiscoveryQueue,
            Done,
        ],
    );
    check(Modes::all(Mode::Queue), &[Baseline, Done]);
}

#[test]
fn phases_before_keep_what_they_set() {
    let plan = Plan::from(Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct));
    let modes = |phase| {
        let found = plan.steps().iter().find(|(known, _)| *known == phase);
        found.unwrap().1.to_string()
    };
    assert_eq!(
        modes(Phase::Baseline),
        "events dual, health direct, discovery dual"
    );
    assert_eq!(
        modes(Phase::HealthQueue),
        "events dual, health queue, discovery dual"
    );
    assert_eq!(
        modes(Phase::DiscoveryDual),
        "events queue, health queue, discovery dual"
    );
}

#[test]
fn each_phase_has_the_right_successor() {
    let plan = Plan::from(Modes::all(Mode::Direct).with(Channel::Events, Mode::Queue));
    let next = |phase| plan.after(phase).map(|(phase, _)| phase);
    assert_eq!(next(Phase::Baseline), Some(Phase::HealthDual));
    assert_eq!(next(Phase::HealthQueue), Some(Phase::DiscoveryDual));
    assert_eq!(next(Phase::DiscoveryQueue), Some(Phase::Done));
    assert_eq!(next(Phase::Done), None);
    assert!(!plan.is_empty());
    assert!(Plan::from(Modes::all(Mode::Queue)).is_empty());
}
