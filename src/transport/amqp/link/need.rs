//! Whether the connection is needed.

use tokio::sync::watch;

use crate::model::FlagState;

pub(super) fn needed(
    flag: &mut watch::Receiver<FlagState>,
    wants: &mut watch::Receiver<usize>,
) -> bool {
    flag.borrow_and_update().modes.use_broker() || *wants.borrow_and_update() > 0
}

pub(super) async fn until_needed(
    flag: &mut watch::Receiver<FlagState>,
    wants: &mut watch::Receiver<usize>,
) {
    while !needed(flag, wants) {
        tokio::select! {
            changed = flag.changed() => if changed.is_err() { return },
            _ = wants.changed() => (),
        }
    }
}

pub(super) async fn until_not_needed(
    flag: &mut watch::Receiver<FlagState>,
    wants: &mut watch::Receiver<usize>,
) {
    while needed(flag, wants) {
        tokio::select! {
            changed = flag.changed() => if changed.is_err() { return },
            _ = wants.changed() => (),
        }
    }
}
