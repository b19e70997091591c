//! The flag in its row, and which modes a start takes: the stored ones or the configured ones.

use crate::{
    model::{Channel, FlagState, Mode, Modes},
    registry::UnreadableRow,
    transport::{Direct, RowChange, StoredRows},
};

pub(in crate::transport) const FLAG: &str = "transport.flag";
/// The only row.
const KEY: &[u8] = b"flag";

/// The flag of an earlier run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::transport) struct StoredFlag {
    pub(super) state: FlagState,
    /// The modes that were configured then.
    pub(super) configured: Modes,
}

impl StoredFlag {
    pub(super) fn row(self) -> RowChange {
        let mut value = Vec::with_capacity(14);
        put(&mut value, self.state.modes);
        put(&mut value, self.configured);
        value.extend_from_slice(&self.state.version.to_be_bytes());
        RowChange {
            table: FLAG,
            key: KEY.into(),
            value: Some(value),
        }
    }

    /// Reads the table; none when the modes were never changed.
    pub(in crate::transport) fn read(rows: &StoredRows) -> Result<Option<Self>, UnreadableRow> {
        let Some((_, row)) = rows.first() else {
            return Ok(None);
        };
        let read = Self::parse(row);
        read.map(Some).ok_or(UnreadableRow { table: FLAG })
    }

    fn parse(row: &[u8]) -> Option<Self> {
        let (modes, rest) = row.split_first_chunk()?;
        let (configured, version) = rest.split_first_chunk()?;
        Some(Self {
            state: FlagState {
                modes: modes_of(*modes)?,
                version: u64::from_be_bytes(version.try_into().ok()?),
            },
            configured: modes_of(*configured)?,
        })
    }
}

fn put(row: &mut Vec<u8>, modes: Modes) {
    for channel in Channel::ALL {
        let mode = modes.of(channel);
        row.push(match mode {
            Mode::Direct => 0,
            Mode::Dual => 1,
            Mode::Queue => 2,
        });
    }
}

fn modes_of(row: [u8; 3]) -> Option<Modes> {
    let mut modes = Modes::all(Mode::Direct);
    for (channel, byte) in Channel::ALL.into_iter().zip(row) {
        let mode = match byte {
            0 => Mode::Direct,
            1 => Mode::Dual,
            2 => Mode::Queue,
            _ => return None,
        };
        modes = modes.with(channel, mode);
    }
    Some(modes)
}

/// The flag at a start. Modes that were changed at run time win, until others are configured or the stored ones
/// are no longer possible.
pub(super) fn at_start(
    configured: Modes,
    stored: Option<StoredFlag>,
    has_broker: bool,
    direct: Direct,
) -> FlagState {
    let Some(stored) = stored else {
        return FlagState {
            modes: configured,
            version: 0,
        };
    };
    let modes = stored.state.modes;
    let is_possible = (has_broker || !modes.use_broker())
        && (direct == Direct::On || modes == Modes::all(Mode::Queue));
    if stored.configured == configured && is_possible {
        return stored.state;
    }
    FlagState {
        modes: configured,
        version: stored.state.version + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(modes: Modes, configured: Modes) -> StoredFlag {
        let state = FlagState { modes, version: 7 };
        StoredFlag { state, configured }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let mixed = Modes {
            events: Mode::Queue,
            health: Mode::Direct,
            discovery: Mode::Dual,
        };
        let flag = stored(mixed, Modes::all(Mode::Queue));
        let row = flag.row();
        let mut value = row.value.unwrap();
        let read = |value: &[u8]| {
            let row = (row.key.clone().into(), value.to_vec().into());
            StoredFlag::read(&vec![row])
        };
        assert_eq!(read(&value).unwrap(), Some(flag));
        assert!(read(&value[1..]).is_err());
        value[4] = 3;
        assert!(read(&value).is_err());
        assert_eq!(StoredFlag::read(&Vec::new()).unwrap(), None);
    }

    #[test]
    fn modes_changed_at_run_time_win_until_others_are_configured() {
        let [direct, dual, queue] = [Mode::Direct, Mode::Dual, Mode::Queue].map(Modes::all);
        let start = |configured, stored, has_broker, way| {
            let flag = at_start(configured, stored, has_broker, way);
            (flag.modes, flag.version)
        };
        let on = Direct::On;
        assert_eq!(start(dual, None, true, on), (dual, 0));
        assert_eq!(start(dual, Some(stored(queue, dual)), true, on), (queue, 7));
        assert_eq!(
            start(direct, Some(stored(queue, dual)), true, on),
            (direct, 8)
        );
        // Without a broker nothing can use one; without the direct way everything must.
        assert_eq!(
            start(direct, Some(stored(queue, direct)), false, on),
            (direct, 8)
        );
        assert_eq!(
            start(queue, Some(stored(dual, queue)), true, Direct::Off),
            (queue, 8)
        );
        assert_eq!(
            start(queue, Some(stored(queue, queue)), true, Direct::Off),
            (queue, 7)
        );
    }
}
