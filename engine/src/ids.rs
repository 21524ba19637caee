//! The numbers of the log, each a type of its own.

use std::fmt;

/// No log counts this far: a number from here on is not one that we wrote, whatever its checksum says. So none that is read can overflow.
pub(crate) const BEYOND_ANY_LOG: u64 = 1 << 63;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $next_doc:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The number itself.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Wraps a number read from disk or given by a user.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            #[doc = $next_doc]
            ///
            /// # Panics
            /// At 2^64, which a log that takes a billion frames a second reaches after 584 years.
            #[must_use]
            pub const fn next(self) -> Self {
                self.plus(1)
            }

            /// This number and `count` more.
            ///
            /// # Panics
            /// Past 2^64, as [`Self::next`].
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                match self.0.checked_add(count) {
                    Some(value) => Self(value),
                    None => panic!("a number of the log passed 2^64"),
                }
            }

            /// The number before this one, zero for zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

number! {
    /// A log sequence number: the place of a frame in the one order of a log. The first frame has 1.
    ///
    /// It is also the id of the transaction that the frame carries.
    Lsn, "The LSN after this one."
}

number! {
    /// The sequence of an event: dense over the life of a channel, counted from 0.
    ///
    /// The log calls it an item number: a frame says which items it holds, whatever they are.
    EventSeq, "The sequence after this one."
}

number! {
    /// The id of a segment, dense over all directories of a log. The first segment has 1.
    SegmentId, "The id after this one."
}

/// Where a frame lies: a segment and the offset of its header in it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FramePtr {
    /// The segment.
    pub segment: SegmentId,
    /// The offset of the frame's first header byte.
    pub offset: u64,
}

impl fmt::Display for FramePtr {
    /// `seg-12@264184931`, the form that every command of `fchannel inspect` prints and takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seg-{}@{}", self.segment, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_and_print() {
        assert_eq!(Lsn::new(7).next(), Lsn::new(8));
        assert_eq!(Lsn::default().previous(), Lsn::new(0));
        assert_eq!(EventSeq::new(3).plus(4).get(), 7);
        let place = FramePtr { segment: SegmentId::new(12), offset: 264 };
        assert_eq!(place.to_string(), "seg-12@264");
        assert_eq!(format!("{:?}", Lsn::new(1)), "Lsn(1)");
    }

    #[test]
    #[should_panic(expected = "2^64")]
    fn an_overflow_is_not_silent() {
        assert_eq!(Lsn::new(u64::MAX).next(), Lsn::new(0));
    }
}
