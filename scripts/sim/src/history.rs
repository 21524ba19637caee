//! A history: what is done to a log, what befalls it, all of it plain data made from one seed, so that steps can be left out.

use fchannel::{
    Durability, OnDamage, Options, TakeSync,
    io::sim::{Fault, Rng},
};
use std::{fmt, path::PathBuf};

/// Where lock and checkpoints lie.
pub(crate) const HOME: &str = "/disk/home";
pub(crate) const TRANSACTION_EVENTS_MAX: u32 = 12;

/// How a life ends without notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Kill,
    PowerCut,
}

/// What is planned for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// At the so many-th operation from now.
    Fault(u64, Fault),
    /// At the so many-th look from now.
    ReadError(u64),
}

/// An open that something befalls, and how that process ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) plan: Plan,
    pub(crate) end: End,
}

/// What follows when the world ends, or the log stops itself.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) end: End,
    /// Opens before the one that succeeds.
    pub(crate) attempts: Vec<Attempt>,
}

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Commit,
    Submit,
    /// Submitted, and its ticket dropped.
    SubmitAndForget,
    RollBack,
}

/// What another thread does while a checkpoint is written.
#[derive(Clone, Debug)]
pub(crate) enum Meanwhile {
    Put(Vec<u32>),
    Take(u32),
}

/// How a process ends in order, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Close,
    Drop,
    Kill,
    PowerCut,
}

/// An option that is another one from the next open on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Capacity(u64),
    Durability(bool),
    DirectoryJoins,
    TailCache(u64),
    SegmentBytes(u64),
    CheckpointOnClose(bool),
}

/// A step of a history. Sizes are those of events.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put {
        events: Vec<u32>,
        mark: Option<u8>,
        fate: Fate,
    },
    /// Begins a take, splits it behind `keep` events if there are more, rolls back the rest.
    Take {
        events: u32,
        keep: Option<u32>,
        fate: Fate,
    },
    /// A take that stays open.
    Hold {
        events: u32,
    },
    /// Leases more into an open take.
    Extend {
        which: u64,
        events: u32,
    },
    /// Ends an open take.
    LetGo {
        which: u64,
        fate: Fate,
    },
    Lead,
    /// Waits for a ticket.
    Wait {
        which: u64,
    },
    Checkpoint {
        meanwhile: Option<Meanwhile>,
    },
    Sync,
    Tick {
        ms: u64,
    },
    Capacity(u64),
    /// The disk has only so many bytes left; `None`: as many as one likes.
    Room(Option<u64>),
    Plan {
        plan: Plan,
        ending: Ending,
    },
    Reopen {
        leave: Leave,
        attempts: Vec<Attempt>,
        changes: Vec<Change>,
    },
}

/// What happens to a disk that nobody uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Damage {
    pub(crate) kind: DamageKind,
    /// Which file, and where in it.
    pub(crate) pick: u64,
    pub(crate) at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DamageKind {
    FlipInSegment,
    BlockOfSegment,
    FlipInNewestCheckpoint,
    FlipInManifest,
    FlipInSpare,
    CutSegment,
    RemoveSegment,
    RemoveNewestCheckpoint,
    RemoveManifest,
    DirectoryAbsent,
}

impl DamageKind {
    const ALL: [Self; 10] = [
        Self::FlipInSegment,
        Self::BlockOfSegment,
        Self::FlipInNewestCheckpoint,
        Self::FlipInManifest,
        Self::FlipInSpare,
        Self::CutSegment,
        Self::RemoveSegment,
        Self::RemoveNewestCheckpoint,
        Self::RemoveManifest,
        Self::DirectoryAbsent,
    ];
}

/// Who is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// A channel through many lives.
    Queue,
    /// A channel whose opens end in crashes, one after the other.
    Recoveries,
    /// A short history, once for each of its operations.
    EachOperation,
    /// A bare log.
    Wal,
    /// A channel whose disk is damaged at the end.
    Damage,
    /// A channel that goes on around the damage.
    Around,
}

impl Class {
    pub(crate) const ALL: [Self; 6] =
        [Self::Queue, Self::Recoveries, Self::EachOperation, Self::Wal, Self::Damage, Self::Around];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Recoveries => "recoveries",
            Self::EachOperation => "each operation",
            Self::Wal => "bare log",
            Self::Damage => "damage",
            Self::Around => "damage, gone around",
        }
    }
}

/// A history, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) class: Class,
    /// The chance of the disk.
    pub(crate) disk_seed: u64,
    pub(crate) options: Options,
    /// Directories that join, one at a time.
    pub(crate) spare_dirs: Vec<PathBuf>,
    pub(crate) steps: Vec<Step>,
    /// At the end: one, or several with a life between.
    pub(crate) damage: Vec<Damage>,
}

impl History {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5157_0a11_9e33_71c5);
        let class = match rng.below(100) {
            0..54 => Class::Queue,
            54..70 => Class::Recoveries,
            70..73 => Class::EachOperation,
            73..85 => Class::Wal,
            85..93 => Class::Damage,
            _ => Class::Around,
        };
        let (options, spare_dirs) = options(&mut rng, class);
        let options = Options { take_sync: take_sync(seed), ..options };
        let mut maker = Maker { rng, class };
        let mut steps = maker.steps();
        let options = ahead(seed, class, options, &mut steps);
        let damages = match class {
            Class::Damage => 1,
            Class::Around => 1 + maker.rng.below(2),
            _ => 0,
        };
        let damage = (0..damages).map(|_| maker.damage()).collect();
        Self { class, disk_seed: maker.rng.next(), options, spare_dirs, steps, damage }
    }
}

/// Seeds that failed before takes could ride with puts: their histories stay what they were.
pub(crate) const KEPT_BEFORE_TAKE_SYNC: &[u64] = &[
    21, 74, 319, 586, 860, 1393, 2829, 3531, 4504, 4914, 8540, 23_956, 69_565, 116_038, 215_493,
    220_038, 242_725, 301_213, 1_000_825, 6_000_163, 7_161_878, 10_778_941, 11_138_455,
];

/// By a chance of its own, so that all else of a history is as it was without.
fn take_sync(seed: u64) -> TakeSync {
    let mut rng = Rng::new(seed ^ 0x7a6e_5e1f_0b57_2d93);
    if rng.chance(30) && !KEPT_BEFORE_TAKE_SYNC.contains(&seed) {
        TakeSync::WithNextPut { at_most_ms: 10 }
    } else {
        TakeSync::EachCommit
    }
}

/// Some have segments, and groups, so large that the next segment is written ahead: by a chance of its own, as above.
fn ahead(seed: u64, class: Class, options: Options, steps: &mut Vec<Step>) -> Options {
    let mut maker = Maker { rng: Rng::new(seed ^ 0x3c79_ac49_2ba7_b653), class };
    let unfit = matches!(class, Class::Wal | Class::EachOperation);
    if !maker.rng.chance(8) || unfit || KEPT_BEFORE_TAKE_SYNC.contains(&seed) {
        return options;
    }
    for _ in 0..1 + maker.rng.below(3) {
        let at = maker.rng.index(steps.len() + 1);
        steps.splice(at..at, maker.large_groups());
    }
    Options { segment_bytes_max: 256 << 10, ..options }
}

fn options(rng: &mut Rng, class: Class) -> (Options, Vec<PathBuf>) {
    let dir = |name: &str| PathBuf::from(format!("/disk/{name}"));
    let mut dirs: Vec<PathBuf> = match rng.below(10) {
        _ if class == Class::Wal => Vec::new(),
        0..4 => Vec::new(),
        4..6 => vec![dir("a")],
        6..9 => vec![dir("a"), dir("b")],
        _ => vec![dir("a"), dir("b"), dir("c")],
    };
    let mut spare_dirs = vec![dir("x"), dir("y")];
    if rng.chance(10) && class != Class::Wal && dirs.is_empty() {
        dirs = vec![PathBuf::from(HOME), spare_dirs.remove(0)];
    }
    let options = Options {
        data_dirs: dirs,
        capacity_events: 20 + rng.below(100),
        transaction_events_max: TRANSACTION_EVENTS_MAX,
        keep_alive_ms: 0,
        durability: durability(rng.chance(35)),
        segment_bytes_max: if rng.chance(85) { 64 << 10 } else { 128 << 10 },
        free_space_min_bytes: if rng.chance(90) { 0 } else { 300_000 },
        checkpoint_interval_ms: 1_000,
        checkpoint_log_bytes: if rng.chance(70) { 64 << 10 } else { 256 << 10 },
        tail_cache_bytes: if rng.chance(50) { 0 } else { 1 << 20 },
        checkpoint_on_close: rng.chance(50),
        // A false alarm must not pass as damage that was gone around.
        on_damage: OnDamage::Refuse,
        ..Options::default()
    };
    (options, spare_dirs)
}

pub(crate) fn durability(interval: bool) -> Durability {
    if interval { Durability::Interval { sync_interval_ms: 10 } } else { Durability::EachCommit }
}

/// Makes steps by chance.
struct Maker {
    rng: Rng,
    class: Class,
}

impl Maker {
    fn steps(&mut self) -> Vec<Step> {
        let count = match self.class {
            Class::EachOperation => 4 + self.rng.index(8),
            Class::Damage | Class::Around => 6 + self.rng.index(30),
            Class::Wal => 10 + self.rng.index(40),
            Class::Queue | Class::Recoveries => 10 + self.rng.index(70),
        };
        let mut steps = Vec::new();
        while steps.len() < count {
            let kind = if self.class == Class::Recoveries { self.rng.below(100) } else { 100 };
            match kind {
                0..4 => self.make_spares(&mut steps),
                4..10 => self.torn_group(&mut steps),
                10..16 => {
                    self.make_spares(&mut steps);
                    self.torn_group(&mut steps);
                }
                _ => steps.push(self.step()),
            }
        }
        if matches!(self.class, Class::Damage | Class::Around) && self.rng.chance(25) {
            // A checkpoint, and one group behind it, for which nothing vouches.
            steps.push(Step::Checkpoint { meanwhile: None });
            let events = self.events();
            steps.push(Step::Put { events, mark: None, fate: Fate::Commit });
        }
        steps
    }

    /// Segments come and go: spares are left, with old frames in them.
    fn make_spares(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..3 {
            for _ in 0..2 {
                let events = vec![40_000 + self.rng.below(20_000) as u32];
                steps.push(Step::Put { events, mark: None, fate: Fate::Commit });
            }
            steps.push(Step::Take {
                events: TRANSACTION_EVENTS_MAX,
                keep: None,
                fate: Fate::Commit,
            });
            steps.push(Step::Tick { ms: 100 });
            steps.push(Step::Checkpoint { meanwhile: None });
        }
    }

    /// Groups of which three fill a segment, and what happens between them while the next one is written ahead.
    fn large_groups(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..3 + self.rng.below(5) {
            let events = vec![74_000 + self.rng.below(12_000) as u32];
            steps.push(Step::Put { events, mark: None, fate: Fate::Commit });
            if self.rng.chance(40) {
                let fault = if self.rng.chance(70) { Fault::Crash } else { self.fault() };
                let plan = Plan::Fault(1 + self.rng.below(6), fault);
                let ending = Ending { end: self.end(), attempts: self.attempts(false) };
                steps.push(Step::Plan { plan, ending });
            }
            // Now and then the load has ended.
            let ms = if self.rng.chance(10) { 130_000 } else { self.rng.below(100) };
            steps.push(Step::Tick { ms });
        }
        steps
    }

    /// A group of frames of one size whose write ends in a crash, and recoveries that do so too: what one of them wrote over a spare, and
    /// did not name, lies behind what the next one writes over it.
    fn torn_group(&mut self, steps: &mut Vec<Step>) {
        // All below it is vouched for: so each recovery begins with the same.
        steps.push(Step::Checkpoint { meanwhile: None });
        // Larger than a sector, at times: then a power cut leaves one and takes the other.
        let len =
            if self.rng.chance(50) { self.rng.below(60) } else { 300 + self.rng.below(900) } as u32;
        for _ in 0..2 + self.rng.below(4) {
            steps.push(Step::Put { events: vec![len], mark: None, fate: Fate::Submit });
        }
        // In the first operations of an open, where a spare is written over.
        let attempts = (0..1 + self.rng.below(4)).map(|_| Attempt {
            plan: Plan::Fault(2 + self.rng.below(6), Fault::Crash),
            end: self.end(),
        });
        let attempts = attempts.collect();
        let plan = Plan::Fault(1 + self.rng.below(2), Fault::Crash);
        let end = if self.rng.chance(70) { End::Kill } else { End::PowerCut };
        steps.push(Step::Plan { plan, ending: Ending { end, attempts } });
        steps.push(Step::Lead);
        // One of their size in their place, and what lay behind it would be next.
        steps.push(Step::Put { events: vec![len], mark: None, fate: Fate::Commit });
        steps.push(Step::Reopen { leave: Leave::Kill, attempts: Vec::new(), changes: Vec::new() });
    }

    fn step(&mut self) -> Step {
        match self.class {
            Class::Recoveries if self.rng.chance(25) => return self.reopen(true),
            Class::Recoveries if self.rng.chance(15) => return self.plan(),
            Class::EachOperation if self.rng.chance(92) => return self.life_step(),
            _ => {}
        }
        match self.rng.below(100) {
            0..82 => self.life_step(),
            82..88 => self.plan(),
            88..91 if !matches!(self.class, Class::Damage | Class::Around) => {
                Step::Room(self.rng.chance(60).then(|| match self.rng.below(3) {
                    0 => 0,
                    1 => self.rng.below(70_000),
                    _ => self.rng.below(400_000),
                }))
            }
            _ => self.reopen(false),
        }
    }

    fn life_step(&mut self) -> Step {
        match self.rng.below(100) {
            0..36 => {
                let mark = self.rng.chance(30).then(|| self.rng.below(3) as u8);
                Step::Put { events: self.events(), mark, fate: self.fate() }
            }
            36..54 => {
                let events = 1 + self.rng.below(8) as u32;
                let keep = self.rng.chance(25).then(|| self.rng.below(8) as u32);
                Step::Take { events, keep, fate: self.fate() }
            }
            54..60 => Step::Hold { events: 1 + self.rng.below(5) as u32 },
            60..62 => Step::Extend { which: self.rng.next(), events: 1 + self.rng.below(9) as u32 },
            62..68 => Step::LetGo { which: self.rng.next(), fate: self.fate() },
            68..74 => Step::Lead,
            74..77 => Step::Wait { which: self.rng.next() },
            77..86 => {
                let meanwhile = self.rng.chance(30).then(|| match self.rng.chance(40) {
                    true => Meanwhile::Put(self.events()),
                    false => Meanwhile::Take(1 + self.rng.below(12) as u32),
                });
                Step::Checkpoint { meanwhile }
            }
            86..89 => Step::Sync,
            89..97 => Step::Tick { ms: self.rng.below(700) },
            _ => Step::Capacity(TRANSACTION_EVENTS_MAX as u64 + self.rng.below(60)),
        }
    }

    fn events(&mut self) -> Vec<u32> {
        let count = match self.rng.below(10) {
            0 => 0,
            1..8 => 1 + self.rng.below(3),
            _ => 1 + self.rng.below(u64::from(TRANSACTION_EVENTS_MAX)),
        };
        (0..count).map(|_| self.event_len()).collect()
    }

    fn event_len(&mut self) -> u32 {
        let len = match self.rng.below(20) {
            0..11 => self.rng.below(60),
            11..16 => self.rng.below(3_000),
            16..19 => 15_000 + self.rng.below(25_000),
            _ => 60_000 + self.rng.below(20_000),
        };
        len as u32
    }

    fn fate(&mut self) -> Fate {
        match self.rng.below(20) {
            0..11 => Fate::Commit,
            11..16 => Fate::Submit,
            16..18 => Fate::SubmitAndForget,
            _ => Fate::RollBack,
        }
    }

    fn damage(&mut self) -> Damage {
        Damage {
            kind: DamageKind::ALL[self.rng.index(DamageKind::ALL.len())],
            pick: self.rng.next(),
            at: self.rng.next(),
        }
    }

    fn end(&mut self) -> End {
        if self.rng.chance(60) { End::PowerCut } else { End::Kill }
    }

    fn fault(&mut self) -> Fault {
        match self.rng.below(10) {
            0..7 => Fault::Crash,
            7..9 => Fault::Error,
            _ => Fault::NoSpace,
        }
    }

    fn plan(&mut self) -> Step {
        let plan = if self.rng.chance(10) {
            Plan::ReadError(1 + self.rng.below(20))
        } else {
            Plan::Fault(1 + self.rng.below(20), self.fault())
        };
        let ending =
            Ending { end: self.end(), attempts: self.attempts(self.class == Class::Recoveries) };
        Step::Plan { plan, ending }
    }

    fn attempts(&mut self, many: bool) -> Vec<Attempt> {
        let count = match (many, self.rng.below(10)) {
            (false, 0..6) => 0,
            (false, _) => 1,
            (true, _) => self.rng.below(5),
        };
        (0..count).map(|_| self.attempt()).collect()
    }

    fn attempt(&mut self) -> Attempt {
        let plan = if self.rng.chance(8) {
            Plan::ReadError(1 + self.rng.below(60))
        } else {
            Plan::Fault(1 + self.rng.below(24), self.fault())
        };
        Attempt { plan, end: self.end() }
    }

    fn reopen(&mut self, many: bool) -> Step {
        let leave = match self.rng.below(10) {
            0..3 => Leave::Close,
            3 => Leave::Drop,
            4..7 => Leave::Kill,
            _ => Leave::PowerCut,
        };
        let changes = match self.rng.below(10) {
            0..7 => Vec::new(),
            _ => vec![self.change()],
        };
        Step::Reopen { leave, attempts: self.attempts(many), changes }
    }

    fn change(&mut self) -> Change {
        match self.rng.below(8) {
            0 => Change::Capacity(u64::from(TRANSACTION_EVENTS_MAX) + self.rng.below(80)),
            1..3 => Change::Durability(self.rng.chance(50)),
            3..5 => Change::DirectoryJoins,
            5 => Change::TailCache(self.rng.below(2) << 18),
            6 => Change::SegmentBytes((1 + self.rng.below(2)) << 16),
            _ => Change::CheckpointOnClose(self.rng.chance(50)),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let o = &self.options;
        writeln!(
            f,
            "  {} history; directories {:?}, {:?}, takes {:?}, capacity {}, segments of {} bytes, checkpoint every {} bytes, on close: {}, \
             tail cache {}, free space floor {}",
            self.class.name(),
            o.data_dirs,
            o.durability,
            o.take_sync,
            o.capacity_events,
            o.segment_bytes_max,
            o.checkpoint_log_bytes,
            o.checkpoint_on_close,
            o.tail_cache_bytes,
            o.free_space_min_bytes
        )?;
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "  {number:>3}. {step:?}")?;
        }
        for damage in &self.damage {
            writeln!(f, "       then, on the disk: {damage:?}")?;
        }
        Ok(())
    }
}
