//! `powercut`: the same process on a disk of ours, whose power is cut. Among the rounds are some in which syncs fail and forget, reads
//! and writes fail, the disk runs full, and syncs lie.

use crate::{
    disk::{Cut, Disk, Fault, Lies, Troubles},
    outcome::{Outcome, Output, hold},
    plant::{self, Plant},
    processes::{Process, look},
    progress::Progress,
    scratch,
};
use fchannel_torture::{
    Answer,
    chance::Chance,
    full::spares,
    record::{Loss, Record, Sight},
    role::{Policy, Role},
    words::Said,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What is to be done.
pub(crate) struct Powercut {
    pub(crate) rounds: u64,
    pub(crate) seed: u64,
    /// None: some rounds so, some so.
    pub(crate) policy: Option<Policy>,
    pub(crate) plant: Option<Plant>,
    pub(crate) output: Output,
}

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Power is cut while it works.
    Cut,
    /// Power is cut while it opens what the last death left.
    CutInRecovery,
    /// Only the process is killed: the page cache stays.
    Kill,
    /// Something fails, once.
    Fails(Fault),
    /// The disk runs full.
    Full,
    /// Syncs answer "done" and do nothing.
    Lies(Lies),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "power cut",
            Self::CutInRecovery => "power cut while opening",
            Self::Kill => "kill",
            Self::Fails(Fault::Sync) => "failed sync",
            Self::Fails(Fault::SyncDir) => "failed directory sync",
            Self::Fails(Fault::Write) => "failed write",
            Self::Fails(Fault::Read) => "failed read",
            Self::Full => "full disk",
            Self::Lies(_) => "lying syncs",
        }
    }
}

const KINDS: [(u64, Kind); 10] = [
    (44, Kind::Cut),
    (12, Kind::CutInRecovery),
    (5, Kind::Kill),
    (12, Kind::Fails(Fault::Sync)),
    (4, Kind::Fails(Fault::SyncDir)),
    (5, Kind::Fails(Fault::Write)),
    (3, Kind::Fails(Fault::Read)),
    (9, Kind::Full),
    (3, Kind::Lies(Lies::Files)),
    (3, Kind::Lies(Lies::Directories)),
];

/// With so many spares an open finds a segment on a full disk.
const RESERVES: usize = 2;
const SOON: Duration = Duration::from_secs(2);

impl Powercut {
    pub(crate) fn run(&self) -> Answer<()> {
        let dir = scratch("powercut")?;
        let this = std::env::current_exe()?;
        let program = match self.plant {
            Some(plant) => plant::build(plant)?,
            None => this.clone(),
        };
        let mount = dir.join("mount");
        fs::create_dir(&mount)?;
        let mut chance = Chance::new(self.seed);
        let mut run = Run {
            program,
            this,
            disk: Disk::mount(&mount, chance.any())?,
            mount,
            scratch: dir.clone(),
            policy: self.policy,
            planted: self.plant.is_some(),
            chance,
            record: Record::default(),
            counts: Counts::default(),
        };
        eprintln!("powercut: {} rounds, --seed {}", self.rounds, self.seed);
        let mut progress = Progress::new("powercut", self.rounds);
        let mut done = 0;
        let mut answer = Ok(());
        while done < self.rounds && answer.is_ok() {
            done += 1;
            answer = run.round(done);
            if !run.record.findings.is_empty() {
                break;
            }
            progress.tell(done, &run.record.totals);
        }
        run.counts.troubles.add(&run.disk.troubles());
        let outcome = Outcome::new("powercut")
            .row("rounds", done)
            .row("seconds", progress.took().as_secs())
            .record(&run.record);
        run.counts.rows(outcome, &run.record).print(self.output);
        if let Some(plant) = self.plant {
            // An open that is refused, or one after which something is not as it was promised.
            let found = answer.err().map(|error| error.to_string());
            let Some(found) = found.or_else(|| run.record.findings.first().cloned()) else {
                return Err(format!("the planted bug {plant:?} was NOT caught").into());
            };
            println!("powercut: the planted bug {plant:?} was caught in round {done}: {found}");
            return Ok(());
        }
        answer.and_then(|()| hold(&run.record)).map_err(|error| {
            let kept = dir.join("medium");
            let told = run
                .disk
                .dump(&kept)
                .map_or_else(|error| error.to_string(), |()| kept.display().to_string());
            format!("round {done} of --seed {}: {error}\nthe medium: {told}", self.seed)
        })?;
        drop(run);
        fs::remove_dir_all(&dir)?;
        Ok(())
    }
}

#[derive(Default)]
struct Counts {
    kinds: BTreeMap<Kind, u64>,
    verdicts: BTreeMap<String, u64>,
    cut: Cut,
    stopped: u64,
    shut: u64,
    rewritten: u64,
    lies_told: u64,
    lies_undone: u64,
    /// Opens that found no room on a full disk that never had any for the reserves.
    without_reserves: u64,
    troubles: Troubles,
}

impl Counts {
    fn rows(&self, mut outcome: Outcome, record: &Record) -> Outcome {
        let mut names: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in &self.kinds {
            *names.entry(kind.name()).or_default() += count;
        }
        for (name, count) in names {
            outcome = outcome.row(format!("rounds with a {name}"), count);
        }
        for (verdict, count) in &self.verdicts {
            outcome = outcome.row(format!("verdict {verdict}"), *count);
        }
        let failed = |fault| self.troubles.failed.get(&fault).copied().unwrap_or_default();
        outcome
            .row("syncs of files that failed (EIO)", failed(Fault::Sync))
            .row("syncs of directories that failed (EIO)", failed(Fault::SyncDir))
            .row("writes that failed (EIO)", failed(Fault::Write))
            .row("reads that failed (EIO)", failed(Fault::Read))
            .row("calls that found no room (ENOSPC)", self.troubles.no_room)
            .row("syncs that lied", self.troubles.lies)
            .row("sectors not synced at a cut", self.cut.sectors)
            .row("of these lost or old", self.cut.lost)
            .row("names not synced at a cut", self.cut.names)
            .row("of these lost", self.cut.names_lost)
            .row("channels that stopped themselves", self.stopped)
            .row("opens refused, with the reason", self.shut)
            .row("opens refused, there never was a reserve", self.without_reserves)
            .row("frames written anew", self.rewritten)
            .row("undone, never said to be durable", record.totals.undone)
            .row("lies that an open found out", self.lies_told)
            .row("events that lies undid, as a suffix", self.lies_undone)
    }
}

struct Run {
    /// Who is tortured.
    program: PathBuf,
    /// Who looks.
    this: PathBuf,
    disk: Disk,
    mount: PathBuf,
    scratch: PathBuf,
    policy: Option<Policy>,
    planted: bool,
    chance: Chance,
    record: Record,
    counts: Counts,
}

impl Run {
    fn draw(&mut self) -> Kind {
        let all: u64 = KINDS.iter().map(|(share, _)| share).sum();
        let mut drawn = self.chance.below(all);
        for (share, kind) in KINDS {
            if drawn < share {
                return kind;
            }
            drawn -= share;
        }
        Kind::Cut
    }

    fn round(&mut self, round: u64) -> Answer<()> {
        // A planted bug must be found where power is cut: a fault would hide it.
        let kind = if self.planted { Kind::Cut } else { self.draw() };
        let policy = self.policy.unwrap_or(match self.chance.percent(70) {
            true => Policy::Each,
            false => Policy::Interval,
        });
        *self.counts.kinds.entry(kind).or_default() += 1;
        let answer = match kind {
            Kind::Lies(lies) => self.lying_round(round, lies, policy),
            kind => self.honest_round(round, kind, policy),
        };
        if let Some(first) = self.record.findings.first_mut() {
            *first = format!("({}, {policy:?}) {first}", kind.name());
        }
        answer
    }

    fn start(&mut self, dir: &Path, round: u64, policy: Policy) -> Answer<Process> {
        let seed = self.chance.any();
        Process::start(&self.program, &Role::Live { dir: dir.to_path_buf(), round, seed, policy })
    }

    fn honest_round(&mut self, round: u64, kind: Kind, policy: Policy) -> Answer<()> {
        let dir = self.mount.join("channel");
        self.record.begin(round);
        // Some faults come while it opens what the last death left.
        let in_recovery = matches!(kind, Kind::Fails(_)) && self.chance.percent(25);
        let mut reserves = RESERVES;
        if in_recovery {
            self.provoke(kind, 12);
        }
        let mut process = self.start(&dir, round, policy)?;
        let stops = |said: &Said| matches!(said, Said::Stopped(_));
        let time = self.chance.microseconds(1_000, 600_000);
        if kind == Kind::CutInRecovery {
            let soon = self.chance.microseconds(0, 60_000);
            process.live(soon, &mut self.record, stops)?;
        } else {
            match process.first_word()? {
                Said::Up if in_recovery => {}
                Said::Up => {
                    if kind == Kind::Full && self.chance.percent(80) {
                        let (waiting, some) = (Instant::now(), Duration::from_millis(5));
                        while spares(&dir)? < RESERVES && waiting.elapsed() < SOON {
                            process.live(some, &mut self.record, stops)?;
                        }
                    }
                    reserves = spares(&dir)?;
                    self.provoke(kind, 150);
                }
                Said::Shut(why) if in_recovery && why.contains("os error 5") => {
                    self.counts.shut += 1;
                }
                other => {
                    self.record.find(format!("the channel cannot be opened: {other}"));
                    return Ok(());
                }
            }
            process.live(time, &mut self.record, stops)?;
        }
        let mut full = kind == Kind::Full;
        if full && self.chance.percent(50) {
            // There is room again, and the process still lives: puts go on.
            self.disk.limit(None);
            full = false;
            let more = self.chance.microseconds(1_000, 300_000);
            process.live(more, &mut self.record, stops)?;
        }
        let fails = matches!(kind, Kind::Fails(_));
        let failed = fails && self.disk.has_failed();
        if failed && self.record.stopped().is_none() {
            // The fault has just come: what follows from it shall be said.
            process.live(Duration::from_millis(300), &mut self.record, stops)?;
        }
        let cut = !matches!(kind, Kind::Kill) && (!(fails || full) || self.chance.percent(50));
        self.kill(process, cut)?;
        if let Err(what) = self.judge_errors(failed, policy) {
            self.record.find(what);
        }
        let loss = match policy {
            Policy::Interval if cut || failed => Loss::Unsynced,
            _ => Loss::Nothing,
        };
        let mut looked = self.look(&dir, policy)?;
        self.disk.limit(None);
        if full && reserves < RESERVES && looked.as_ref().is_err_and(|why| why.contains("DiskFull"))
        {
            // docs/RECOVERY.md, "Known limits": with room it opens, and all is there.
            self.counts.without_reserves += 1;
            looked = self.look(&dir, policy)?;
        }
        let sight = looked.map_err(|why| format!("the open was refused: {why}"))?;
        self.record.settle(&sight, loss);
        Ok(())
    }

    /// Plans the fault of a round, for one of the next calls that it is about.
    fn provoke(&mut self, kind: Kind, soon: u64) {
        match kind {
            Kind::Fails(fault) => {
                // These are rarer.
                let rare = matches!(fault, Fault::SyncDir | Fault::Read);
                let nth = 1 + self.chance.below(if rare { soon.min(20) } else { soon });
                self.disk.plan(fault, nth);
            }
            Kind::Full => {
                let room = self.chance.below(600 << 10);
                self.disk.limit(Some(room));
            }
            _ => {}
        }
    }

    fn kill(&mut self, mut process: Process, cut: bool) -> Answer<()> {
        if cut {
            self.disk.cut();
        }
        process.shoot()?;
        if cut {
            self.disk.let_go();
        }
        process.bury(&mut self.record)?;
        if cut {
            let cut = self.disk.reboot()?;
            self.counts.cut.sectors += cut.sectors;
            self.counts.cut.lost += cut.lost;
            self.counts.cut.names += cut.names;
            self.counts.cut.names_lost += cut.names_lost;
        } else {
            self.disk.let_live();
        }
        Ok(())
    }

    /// Whether the channel stopped itself when it had to, and then only, and said why.
    fn judge_errors(&mut self, failed: bool, policy: Policy) -> Result<(), String> {
        let Some(why) = self.record.stopped() else { return Ok(()) };
        self.counts.stopped += 1;
        if !failed {
            return Err(format!("the channel stopped itself, and there was no fault: {why}"));
        }
        if why.starts_with("BUT") || !why.contains("os error 5") {
            return Err(format!("the channel stopped itself, and does not say why: {why}"));
        }
        let logged = |line: &String| line.contains("stopped itself") && line.contains("os error 5");
        if !self.record.logged().iter().any(logged) {
            let log = self.record.logged();
            return Err(format!(
                "the channel stopped itself, and the log does not say why: {log:?}"
            ));
        }
        // The error names the first LSN that failed: nothing from there on may have been acknowledged.
        let lsn =
            why.rsplit("lsn ").next().and_then(|rest| rest.trim_end_matches(')').parse().ok());
        if let Some(lsn) = lsn
            && policy == Policy::Each
            && self.record.acknowledged() >= lsn
        {
            let last = self.record.acknowledged();
            return Err(format!("LSN {last} was acknowledged after the failure: {why}"));
        }
        Ok(())
    }

    /// Opens the channel elsewhere than in this process, which serves the disk.
    fn look(&mut self, dir: &Path, policy: Policy) -> Answer<Result<Sight, String>> {
        let close = self.chance.percent(50);
        let sight = look(&self.this, &Role::Look { dir: dir.to_path_buf(), policy, close })?;
        if let Ok(sight) = &sight {
            *self.counts.verdicts.entry(sight.verdict.clone()).or_default() += 1;
            self.counts.rewritten += sight.rewritten;
        }
        Ok(sight)
    }

    /// A disk of its own, whose syncs lie from some moment on. After a power cut the channel must either say that something is wrong, or
    /// hold all up to some commit and nothing behind it.
    fn lying_round(&mut self, round: u64, lies: Lies, policy: Policy) -> Answer<()> {
        let mount = self.scratch.join("liar");
        fs::create_dir_all(&mount)?;
        let disk = Disk::mount(&mount, self.chance.any())?;
        let honest = (std::mem::replace(&mut self.disk, disk), std::mem::take(&mut self.record));
        let answer = self.lie(&mount.join("channel"), round, lies, policy);
        self.counts.troubles.add(&self.disk.troubles());
        (self.disk, _) = (honest.0, ());
        let lied = std::mem::replace(&mut self.record, honest.1);
        self.counts.lies_undone += lied.totals.undone;
        self.record.findings.extend(lied.findings);
        self.record.totals.others +=
            lied.totals.others + lied.totals.lost + lied.totals.out_of_order;
        answer
    }

    fn lie(&mut self, dir: &Path, round: u64, lies: Lies, policy: Policy) -> Answer<()> {
        self.record.begin(round);
        let mut process = self.start(dir, round, policy)?;
        process.first_word()?;
        let honest = self.chance.microseconds(0, 200_000);
        process.live(honest, &mut self.record, |_| false)?;
        self.disk.lie(lies);
        let time = self.chance.microseconds(1_000, 300_000);
        process.live(time, &mut self.record, |_| false)?;
        self.kill(process, true)?;
        match self.look(dir, policy)? {
            Ok(sight) => self.record.settle(&sight, Loss::Anything),
            // Refused, or found when an event was read: it says so.
            Err(_) => self.counts.lies_told += 1,
        }
        Ok(())
    }
}
