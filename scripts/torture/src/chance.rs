//! Random moments and numbers, from a seed that is printed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A splitmix generator: neighbouring seeds give unrelated numbers.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that differs from run to run.
    #[must_use]
    pub fn fresh_seed() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs() << 20 | u64::from(since.subsec_micros())
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any() % end.max(1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    ///
    /// # Panics
    /// If there are none.
    pub fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        let at = usize::try_from(self.below(these.len() as u64)).unwrap_or_default();
        *these.get(at).expect("there is something to choose from")
    }

    /// A time between two numbers of microseconds.
    pub fn microseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from + self.below(to.saturating_sub(from)))
    }
}
