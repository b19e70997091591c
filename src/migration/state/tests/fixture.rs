//! A migration with a flag, a broker and traffic that a test makes up; time passes when it says so.

use std::time::Duration;

use crate::{
    api::{
        Comparison, MigrationAction, MigrationCanaryStep, MigrationDraft, MigrationMode,
        MigrationRefusal, StoredMigration, TransportBroker, TransportChannel, TransportReport,
    },
    migration::{
        canary::CanaryRun,
        config::{Config, GuardSetting},
        phase::Phase,
        state::{Act, DaemonView, MigrationState},
        window::{Measured, Measurements},
    },
    model::{Channel, FlagError, FlagState, Mode, Modes, Timestamp},
    registry::Now,
};

/// As often as the loop looks.
const LOOK_MS: u64 = 250;

/// What a second brings, unless a test says otherwise.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) silent_since: Option<u64>,
    /// Of each latency.
    pub(super) latency: Duration,
    pub(super) per_second: u32,
    pub(super) canary_passes: bool,
    pub(super) lag: u64,
    /// What each second compares of each channel that goes both ways.
    pub(super) compares: Comparison,
    pub(super) drains: bool,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) state: MigrationState,
    pub(super) world: World,
    pub(super) now: Now,
    pub(super) flagged: FlagState,
    pub(super) report: TransportReport,
    pub(super) sources: Measurements,
    /// Every flip, with its time.
    pub(super) flips: Vec<(u64, Modes)>,
    pub(super) events: Vec<(&'static str, String)>,
}

impl Stage {
    pub(super) fn new(config: Config, modes: Modes) -> Self {
        let channel = |channel| TransportChannel {
            channel,
            mode: modes.of(channel),
            cursor: None,
            lag: Some(0),
            sent: 0,
            failed: 0,
            comparison: Comparison::default(),
        };
        let report = TransportReport {
            channels: Channel::ALL.into_iter().map(channel).collect(),
            broker: TransportBroker {
                kind: "embedded",
                url: "amqp://127.0.0.1:5672".to_owned(),
                state: "up",
                silent: None,
                since: Timestamp(0),
                error: None,
                connections: 1,
                dead_letters: 0,
                answers_lost: 0,
            },
            direct: true,
            timestamp: Timestamp(0),
        };
        let now = Now {
            mono_ms: 1_000_000,
            wall: Timestamp(1_700_000_000_000),
        };
        let mut stage = Self {
            state: MigrationState::new(config, now, Measurements::default()),
            world: World {
                silent_since: None,
                latency: Duration::from_millis(2),
                per_second: 10,
                canary_passes: true,
                lag: 0,
                compares: Comparison {
                    compared: 5,
                    ..Comparison::default()
                },
                drains: true,
            },
            now,
            flagged: FlagState { modes, version: 7 },
            report,
            sources: Measurements::default(),
            flips: Vec::new(),
            events: Vec::new(),
        };
        stage.look();
        stage
    }

    pub(super) fn config(&self) -> &Config {
        &self.state.config
    }

    /// The row for the next run.
    pub(super) fn stored(&self) -> Vec<u8> {
        self.state.stored().expect("it knows the modes").encode()
    }

    /// The daemon is restarted, which takes 5 s.
    pub(super) fn restart(&mut self) {
        self.restart_with(&self.stored());
    }

    pub(super) fn restart_with(&mut self, row: &[u8]) {
        self.pass(5_000);
        self.now.mono_ms = 3;
        self.world.silent_since = None;
        self.sources = Measurements::default();
        for channel in &mut self.report.channels {
            channel.comparison = Comparison::default();
        }
        let stored = StoredMigration::read(row).expect("a row");
        let (config, sources) = (self.state.config.clone(), self.sources.clone());
        let restored = MigrationState::restore(config, self.now, sources, stored, self.flagged);
        self.state = restored.expect("it is understood");
        self.note();
    }

    /// A quarter of a second and a look; what is to be done is left to the caller.
    pub(super) fn step(&mut self) -> Option<Act> {
        if self.now.mono_ms.is_multiple_of(1_000) {
            let (wanted, _) = self.state.wants_canary();
            if wanted {
                self.run_canary(self.world.canary_passes);
            }
        }
        for what in Measured::ALL {
            self.observe(what, self.world.latency);
            self.observe(what, self.world.latency);
            self.observe(what, self.world.latency);
        }
        self.pass(LOOK_MS);
        self.look_once()
    }

    /// As it is out of the box, with times that suit tests.
    pub(super) fn usual() -> Self {
        Self::new(
            config(),
            Modes::all(Mode::Dual).with(Channel::Health, Mode::Direct),
        )
    }

    pub(super) fn direct() -> Self {
        Self::new(config(), Modes::all(Mode::Direct))
    }

    pub(super) fn ask(&mut self, action: MigrationAction) -> Result<(), MigrationRefusal> {
        let draft = MigrationDraft {
            action,
            mode: None,
            soak: None,
        };
        let taken = self.state.ask(draft, self.flagged, self.now);
        self.note();
        taken
    }

    pub(super) fn start(&mut self, mode: MigrationMode) {
        let draft = MigrationDraft {
            action: MigrationAction::Start,
            mode: Some(mode),
            soak: None,
        };
        self.state.ask(draft, self.flagged, self.now).unwrap();
        self.note();
    }

    /// Somebody else turns the flag.
    pub(super) fn turn_by_hand(&mut self, modes: Modes) {
        self.flagged = FlagState {
            modes,
            version: self.flagged.version + 1,
        };
    }

    fn look_once(&mut self) -> Option<Act> {
        self.refresh();
        let act = self.state.look(&DaemonView {
            now: self.now,
            flagged: self.flagged,
            report: &self.report,
            sources: &self.sources,
        });
        self.note();
        act
    }

    /// Looks and does what is said, as the loop does.
    pub(super) fn look(&mut self) {
        for _ in 0..10 {
            let Some(act) = self.look_once() else {
                return;
            };
            self.act(act);
        }
        panic!("it never comes to rest: {:?}", self.events);
    }

    /// Looks until there is something to do, which is left to the caller.
    #[track_caller]
    pub(super) fn until_act(&mut self) -> Act {
        for _ in 0..1_000 {
            self.pass(LOOK_MS);
            if let Some(act) = self.look_once() {
                return act;
            }
        }
        panic!("nothing to do: {:#?}", self.events);
    }

    /// Does what there was to do.
    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Set { modes, only_if } => {
                let answer = self.set(modes, only_if);
                self.state.turned(modes, answer, self.now);
            }
            Act::Settle(_) => self.state.settled(self.world.drains, self.now),
        }
        self.note();
    }

    fn set(&mut self, modes: Modes, only_if: u64) -> Result<u64, FlagError> {
        if only_if != self.flagged.version {
            return Err(FlagError::Changed);
        }
        if modes.use_broker() && self.world.silent_since.is_some() {
            self.now.mono_ms += 4_500;
            return Err(FlagError::Unreachable("no answer".to_owned()));
        }
        let version = self.flagged.version + 1;
        self.flagged = FlagState { modes, version };
        self.flips.push((self.now.mono_ms, modes));
        Ok(version)
    }

    fn refresh(&mut self) {
        let uses = self.flagged.modes.use_broker();
        let now_ms = self.now.mono_ms;
        let silent = self.world.silent_since.filter(|_| uses);
        let silent = silent.map(|since| Duration::from_millis(now_ms - since));
        self.report.broker.silent = silent;
        self.report.broker.state = match (uses, silent) {
            (false, _) => "off",
            (true, None) => "up",
            (true, Some(_)) => "away",
        };
        for channel in &mut self.report.channels {
            channel.mode = self.flagged.modes.of(channel.channel);
            channel.lag = Some(self.world.lag);
        }
    }

    fn note(&mut self) {
        let notices = self.state.take_notices();
        self.events
            .extend(notices.into_iter().map(|one| (one.event, one.text)));
    }

    /// A second of the world, with its looks; the canary flies every fifth.
    pub(super) fn second(&mut self) {
        let (wanted, _) = self.state.wants_canary();
        if wanted && (self.now.mono_ms / 1000).is_multiple_of(5) {
            self.run_canary(self.world.canary_passes);
        }
        for _ in 0..self.world.per_second {
            for what in Measured::ALL {
                self.observe(what, self.world.latency);
            }
        }
        let compares = self.world.compares;
        for channel in &mut self.report.channels {
            if channel.mode == Mode::Dual {
                channel.comparison.compared += compares.compared;
                channel.comparison.missing += compares.missing;
                channel.comparison.late += compares.late;
                channel.comparison.different += compares.different;
            }
        }
        for _ in 0..1000 / LOOK_MS {
            self.pass(LOOK_MS);
            self.look();
        }
    }

    pub(super) fn seconds(&mut self, n: u64) {
        for _ in 0..n {
            self.second();
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall.0 += i64::try_from(ms).unwrap();
    }

    pub(super) fn observe(&mut self, what: Measured, took: Duration) {
        self.sources.latencies[what as usize].add(took);
    }

    pub(super) fn run_canary(&mut self, passes: bool) {
        let error = (!passes).then(|| "not within 2s".to_owned());
        self.state.canary_finished(CanaryRun {
            began_ms: self.now.mono_ms,
            ended: self.now.wall,
            steps: vec![MigrationCanaryStep {
                name: "discover",
                took_ms: 1.0,
                error,
            }],
        });
    }

    /// Lets time pass until it is in this phase.
    #[track_caller]
    pub(super) fn until_phase(&mut self, phase: Phase) {
        for _ in 0..1_000 {
            if self.state.phase() == Some(phase) {
                return;
            }
            self.second();
        }
        panic!("never in {phase}: {:#?}", self.events);
    }

    #[track_caller]
    pub(super) fn until_state(&mut self, word: &str) {
        for _ in 0..1_000 {
            if self.state.name() == word {
                return;
            }
            self.second();
        }
        panic!("never {word}: {:#?}", self.events);
    }

    pub(super) fn count(&self, event: &str) -> usize {
        let named = self.events.iter().filter(|(known, _)| *known == event);
        named.count()
    }

    #[track_caller]
    pub(super) fn last(&self, event: &str) -> &str {
        let mut named = self.events.iter().filter(|(known, _)| *known == event);
        let last = named.next_back();
        &last
            .unwrap_or_else(|| panic!("no {event}: {:#?}", self.events))
            .1
    }

    pub(super) fn waits_for(&self) -> String {
        self.state.report().waits_for.join("; ")
    }
}

pub(super) fn config() -> Config {
    Config {
        baseline: Duration::from_secs(20).into(),
        soak: Duration::from_secs(20).into(),
        phase_max: Duration::from_secs(300).into(),
        verify_max: Duration::from_secs(60).into(),
        ..Config::default()
    }
}

pub(super) fn always() -> Config {
    Config {
        guard: GuardSetting::Always,
        ..config()
    }
}
