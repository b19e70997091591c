//! A migration for tests.

use parking_lot::Mutex;

use crate::{
    api::{
        MigrationAction, MigrationCanary, MigrationCanaryStep, MigrationDraft, MigrationGuard,
        MigrationLatencyBack, MigrationMode, MigrationPhase, MigrationRefusal, MigrationReport,
        MigrationReturn, MigrationRollback, MigrationRule, MigrationStep,
    },
    http::Migrations,
    model::{Mode, Modes, Timestamp},
};

/// Refuses to advance, and reports one of everything.
#[derive(Debug, Default)]
pub(in crate::http) struct StagedMigration {
    pub(in crate::http) asked: Mutex<Vec<MigrationDraft>>,
}

impl Migrations for StagedMigration {
    #[expect(clippy::too_many_lines, reason = "one value with every field")]
    fn report(&self) -> MigrationReport {
        let (at, modes) = (Timestamp(0), Modes::all(Mode::Dual));
        MigrationReport {
            state: "running",
            mode: MigrationMode::Step,
            modes,
            phase: Some("health dual"),
            waits_for: vec!["an operator's advance".to_owned()],
            phases: vec![MigrationPhase {
                name: "health dual",
                state: "current",
                modes,
                soak: std::time::Duration::from_secs(60),
                entered: Some(at),
            }],
            baseline: Vec::new(),
            guard: MigrationGuard {
                setting: "auto",
                rules: vec![MigrationRule {
                    name: "broker_away",
                    state: "armed",
                    armed: true,
                    value: Some(0.0),
                    threshold: Some(10.0),
                    unit: "s",
                    broken: 0,
                    windows: 1,
                }],
            },
            canary: MigrationCanary {
                steps: vec![MigrationCanaryStep {
                    name: "probe",
                    took_ms: 1.5,
                    error: Some("not within 2s".to_owned()),
                }],
                ..MigrationCanary::default()
            },
            rollback: Some(MigrationRollback {
                rule: "broker_away".into(),
                reason: "silence".to_owned(),
                stage: "verified".into(),
                from: modes,
                began: at,
                flipped_ms: Some(1.0),
                drained: Some(true),
                drain_ms: None,
                canary_passed: Some(true),
                latencies: vec![MigrationLatencyBack {
                    name: "register".into(),
                    p95_ms: 1.0,
                    max_ms: 2.0,
                }],
                ended: Some(at),
                notes: vec!["a note".to_owned()],
            }),
            soak_left_ms: None,
            pending_return: Some(MigrationReturn {
                modes,
                not_before: at,
                by_itself: true,
                returns: 1,
                returns_max: 3,
                error: None,
            }),
            history: vec![MigrationStep {
                at,
                event: "migration.phase".into(),
                phase: Some("health dual".into()),
                text: "began".to_owned(),
                figures: vec![("compared".into(), 12.0)],
            }],
            notices: Vec::new(),
            timestamp: Timestamp(0),
        }
    }

    fn ask(&self, draft: MigrationDraft) -> Result<(), MigrationRefusal> {
        self.asked.lock().push(draft);
        match draft.action {
            MigrationAction::Advance => Err(MigrationRefusal("nothing to advance".to_owned())),
            _ => Ok(()),
        }
    }
}
