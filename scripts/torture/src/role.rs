//! The parts that a process of ours may play: to live until it is killed, or to look at what a death left.

use crate::{
    Answer,
    full::{self, Part},
    life, look,
    words::Said,
};
use fchannel::{CommitCalls, Durability, OnDamage, Options};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::Mutex,
};

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// When it is synced.
    Each,
    /// When it is written; syncs follow by time.
    Interval,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Interval => "interval",
        }
    }

    fn named(name: &str) -> Answer<Self> {
        match name {
            "each" => Ok(Self::Each),
            "interval" => Ok(Self::Interval),
            _ => Err(format!("no such policy: {name}").into()),
        }
    }
}

/// One part, as the command line says it.
#[derive(Clone, Debug)]
pub enum Role {
    /// Puts and takes until it is killed.
    Live {
        /// The channel.
        dir: PathBuf,
        /// Part of the ids of its events.
        round: u64,
        /// Where its chance comes from.
        seed: u64,
        /// How it commits.
        policy: Policy,
    },
    /// Opens the channel and says all that is in it.
    Look {
        /// The channel.
        dir: PathBuf,
        /// How it commits.
        policy: Policy,
        /// Closes it in order; else it is only dropped.
        close: bool,
    },
    /// Works on a full disk.
    Full {
        /// The channel.
        dir: PathBuf,
        /// The file of the others, who take what room there is.
        others: PathBuf,
        /// Which of its lives.
        part: Part,
    },
}

impl Role {
    /// The command that has `program` play this part.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            Self::Live { dir, round, seed, policy } => {
                command.arg("live").arg(dir).args([round.to_string(), seed.to_string()]);
                command.arg(policy.name());
            }
            Self::Look { dir, policy, close } => {
                command.arg("look").arg(dir).args([policy.name(), &close.to_string()]);
            }
            Self::Full { dir, others, part } => {
                command.arg("full").arg(dir).arg(others).arg((*part as u64).to_string());
            }
        }
        command
    }

    /// The part that these words name, if they name one.
    ///
    /// # Errors
    /// If a word is not what belongs there.
    pub fn of(words: &[String]) -> Answer<Option<Self>> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match words.as_slice() {
            ["live", dir, round, seed, policy] => Some(Self::Live {
                dir: dir.into(),
                round: round.parse()?,
                seed: seed.parse()?,
                policy: Policy::named(policy)?,
            }),
            ["look", dir, policy, close] => Some(Self::Look {
                dir: dir.into(),
                policy: Policy::named(policy)?,
                close: close.parse()?,
            }),
            ["full", dir, others, part] => Some(Self::Full {
                dir: dir.into(),
                others: others.into(),
                part: match *part {
                    "1" => Part::Fill,
                    "2" => Part::Half,
                    _ => Part::Drain,
                },
            }),
            _ => None,
        })
    }

    /// Plays it.
    ///
    /// # Errors
    /// If it cannot go on.
    pub fn play(self) -> Answer<()> {
        match self {
            Self::Live { dir, round, seed, policy } => life::live(&dir, round, seed, policy),
            Self::Look { dir, policy, close } => look::look(&dir, policy, close),
            Self::Full { dir, others, part } => full::live(&dir, &others, part),
        }
    }
}

/// The whole of a process that plays a part.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let played = Role::of(&words).and_then(|role| role.ok_or("no such part")?.play());
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{words:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As [`options`]; every other life commits by io_uring, where there is one.
pub(crate) fn options_of_round(round: u64, policy: Policy) -> Options {
    let commit_calls = match round % 2 {
        0 => CommitCalls::WriteThenSync,
        _ => CommitCalls::IoUring,
    };
    Options { commit_calls, ..options(policy) }
}

/// How the channel is opened: small, so that a short life rotates, retires, recycles and makes checkpoints.
pub(crate) fn options(policy: Policy) -> Options {
    Options {
        segment_bytes_max: 256 << 10,
        checkpoint_log_bytes: 128 << 10,
        checkpoint_interval_ms: 50,
        free_space_min_bytes: 0,
        capacity_events: CAPACITY_EVENTS,
        transaction_events_max: 1000,
        tail_cache_bytes: 64 << 10,
        keep_alive_ms: 5,
        // A false alarm must not pass as damage that was gone around, nor a lie as events that were set aside.
        on_damage: OnDamage::Refuse,
        durability: match policy {
            Policy::Each => Durability::EachCommit,
            Policy::Interval => Durability::Interval { sync_interval_ms: 20 },
        },
        ..Options::default()
    }
}

/// So few that all that waits is looked at after each death.
pub(crate) const CAPACITY_EVENTS: u64 = 3000;

static PIPE: Mutex<()> = Mutex::new(());

/// Says a line in one write. Who listens no longer has been killed itself: then this process ends too.
pub(crate) fn say(said: &Said) {
    let line = format!("{said}\n");
    let _in_one_piece = PIPE.lock();
    let mut out = std::io::stdout();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
