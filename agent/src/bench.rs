//! What a channel does on this disk, beside what the disk itself does, alternated in one run.
//!
//! A figure of a disk means something only beside another one of the same second: a shared machine changes by a factor of two within a
//! minute. So each cell is measured in rounds, floor, ours, floor, each for a slice of time, and what counts are the ratios of
//! neighbours, with their spread.

mod cells;
pub mod disk;
pub mod floor;
pub mod spread;

pub use cells::{CELLS, Cell, Row, Work};

use std::{error::Error, path::Path, time::Duration};

/// An answer, or what to say to who runs this.
pub type Answer<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long it takes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Bytes of an event.
    pub event_bytes: usize,
    /// Rounds of each cell.
    pub rounds: usize,
    /// How long each measures in a round.
    pub slice: Duration,
    /// Events that wait beside what is measured.
    pub backlog: u64,
}

impl Default for Plan {
    /// All cells in under a minute.
    fn default() -> Self {
        Self { event_bytes: 500, rounds: 5, slice: Duration::from_millis(250), backlog: 0 }
    }
}

/// Measures `cells` one after the other, each in a directory of its own below `dir`, which is gone when the next begins; beside a backlog
/// all in one, since it takes long to put. `tell` hears how many are done.
///
/// # Errors
/// Whatever the disk or the channel says.
pub fn measure(
    plan: &Plan,
    cells: &[&Cell],
    dir: &Path,
    mut tell: impl FnMut(usize, usize),
) -> Answer<Vec<Row>> {
    let mut rows = Vec::new();
    for (done, cell) in cells.iter().enumerate() {
        tell(done, cells.len());
        let is_kept = plan.backlog > 0;
        let place = dir.join(if is_kept { "backlog".to_owned() } else { format!("cell-{done}") });
        std::fs::create_dir_all(&place)?;
        let row = cell.measure(plan, &place);
        if !is_kept {
            std::fs::remove_dir_all(&place)?;
        }
        rows.push(row.map_err(|error| format!("{}: {error}", cell.name(plan)))?);
    }
    tell(cells.len(), cells.len());
    Ok(rows)
}

/// Bytes that no disk or checksum finds easy: a xorshift sequence from `seed`.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

/// Exact up to 2^53, far above any count here.
#[expect(clippy::cast_precision_loss, reason = "counts of a minute stay far below 2^53")]
pub(crate) fn real(number: u64) -> f64 {
    number as f64
}

/// The figure that `thousandths` of `sorted` stay below; zero if there are none.
fn at_thousandths(sorted: &[u32], thousandths: usize) -> u32 {
    let at = sorted.len() * thousandths / 1000;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The microseconds since `begun`.
fn micros_since(begun: std::time::Instant) -> u32 {
    u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)
}
