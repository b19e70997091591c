//! The log against a model, with a fault at every call of the disk.

use super::{model::Run, *};
use crate::disk::testing::{Fault, SimDisk};

const STEPS: usize = 400;

/// The records that were acknowledged in a run.
struct Promised {
    run: Run,
    /// Up to here everything survives a loss of power.
    durable: LogPosition,
    /// Up to here everything survives the end of the process.
    written: LogPosition,
    failed: bool,
}

/// Steps until the end, or until the log fails. A full disk is mended after some turns.
fn run(disk: &SimDisk, seed: u64) -> Promised {
    let mut run = Run::new(seed);
    let Ok(log) = TestLog::try_open(disk, SMALL) else {
        return Promised {
            run,
            durable: 0,
            written: 0,
            failed: true,
        };
    };
    finish(disk, run_on(disk, log, &mut run), run)
}

fn run_on(disk: &SimDisk, mut log: TestLog, run: &mut Run) -> TestLog {
    let mut full = 0;
    for _ in 0..STEPS {
        run.step(&mut log);
        match log.state() {
            MessageLogState::Ready => (),
            MessageLogState::Full => full += 1,
            MessageLogState::Failed(_) => break,
        }
        if full == 30 {
            disk.set(Fault::None);
        }
    }
    log
}

fn finish(disk: &SimDisk, mut log: TestLog, run: Run) -> Promised {
    log.shared.request_durable(LogPosition::MAX);
    for _ in 0..5 {
        log.writer.turn();
    }
    if log.state() == MessageLogState::Full {
        disk.set(Fault::None);
    }
    log.sync();
    log.writer.finish();
    assert!(log.shared.index.lock().is_counted());
    let failed = matches!(log.state(), MessageLogState::Failed(_));
    if !failed {
        let last = log.shared.pending.lock().last;
        assert_eq!(log.durable(), last, "all of it is durable in the end");
        assert_eq!(log.shared.pending_bytes.load(Relaxed), 0);
    }
    Promised {
        durable: log.durable(),
        written: log.writer.written().max(log.durable()),
        run,
        failed,
    }
}

/// A log that was left by a crash has all acknowledged records, also after it was opened again and used.
fn check(
    disk: &SimDisk,
    promised: &Promised,
    (least, durable): (LogPosition, LogPosition),
    random: &mut fastrand::Rng,
    what: &str,
) {
    let open = |disk: &SimDisk, when: &str| {
        let opened = TestLog::try_open(disk, SMALL);
        opened.unwrap_or_else(|error| panic!("{what}, {when}: {error}"))
    };
    // The power is lost while it starts.
    let starting = disk.after_kill();
    starting.set(Fault::Power(random.u64(..4)));
    drop(TestLog::try_open(&starting, SMALL));
    let left = open(&starting.after_power_loss(random), "after half a start");
    promised.run.check(&left, durable, what);
    let mut log = open(disk, "first");
    promised.run.check(&log, least, what);
    // Records that a start finds are durable from then on.
    let left = open(&disk.after_power_loss(random), "after a loss of power");
    promised.run.check(&left, least, what);
    // Cleaning, removing, and then another crash.
    log.turns();
    let before: Vec<_> = (0..3).map(|queue| log.read(queue)).collect();
    let log = open(&disk.after_kill(), "again");
    let after: Vec<_> = (0..3).map(|queue| log.read(queue)).collect();
    assert_eq!(before, after, "{what}: opened twice");
}

#[test]
fn nothing_promised_is_lost_whichever_call_fails() {
    let disk = SimDisk::default();
    let promised = run(&disk, 1);
    assert!(!promised.failed);
    let calls = disk.calls();
    assert!((100..2000).contains(&calls), "{calls} calls");
    let mut random = fastrand::Rng::with_seed(2);
    for at in 0..calls {
        for fault in [Fault::Full(at), Fault::Io(at), Fault::Power(at)] {
            let disk = SimDisk::default();
            disk.set(fault);
            let promised = run(&disk, 1);
            let what = format!("{fault:?}");
            if matches!(fault, Fault::Full(_)) {
                assert!(!promised.failed, "{what}: a full disk is no failure");
            }
            let (killed, durable) = (disk.after_kill(), promised.durable);
            let least = (promised.written, durable);
            check(&killed, &promised, least, &mut random, &what);
            let left = disk.after_power_loss(&mut random);
            check(&left, &promised, (durable, durable), &mut random, &what);
        }
    }
}

#[test]
fn runs_of_many_kinds_survive_power_losses_one_after_the_other() {
    for seed in 10..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut disk = SimDisk::default();
        let mut run = Run::new(seed);
        for crash in 0..6 {
            let what = format!("seed {seed}, crash {crash}");
            let Ok(log) = TestLog::try_open(&disk, SMALL) else {
                panic!("{what}: it opens");
            };
            disk.set(Fault::Power(disk.calls() + random.u64(..200)));
            let log = run_on(&disk, log, &mut run);
            let durable = log.durable();
            disk = disk.after_power_loss(&mut random);
            let opened = TestLog::open(&disk);
            run.check(&opened, durable, &what);
            run.resume(&opened, durable);
            drop(opened);
        }
    }
}

#[test]
fn confirmed_messages_are_there_or_the_start_is_refused_whatever_the_newest_file_loses() {
    let (mut refused, mut whole) = (0, 0);
    for seed in 100..140 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::default();
        let mut run = Run::new(seed);
        let log = run_on(&disk, TestLog::open(&disk), &mut run);
        let durable = log.durable();
        drop(log);
        let Some(newest) = disk.segments().pop() else {
            panic!("there is a segment");
        };
        let bytes = disk.content(&newest);
        for _ in 0..20 {
            let mut lost = bytes.clone();
            match random.bool() {
                true => lost.truncate(random.usize(..bytes.len())),
                false => lost[random.usize(..bytes.len())] ^= 1 << random.u8(..8),
            }
            match TestLog::try_open(&disk.with(&newest, Some(lost)), SMALL) {
                Err(MessageLogError::Damaged { .. } | MessageLogError::Missing { .. }) => {
                    refused += 1;
                }
                Err(error) => panic!("seed {seed}: {error}"),
                Ok(log) => {
                    whole += 1;
                    run.check(&log, durable, &format!("seed {seed}"));
                }
            }
        }
    }
    assert!(refused > 100 && whole > 10, "{refused} and {whole}");
}
