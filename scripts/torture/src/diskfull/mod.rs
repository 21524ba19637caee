//! `diskfull`: full disks. On each kind of file system a channel is filled until puts are refused, others take the last byte, the process
//! is killed there, twice, the channel is drained to its end, and puts go on when the others are gone. Then the same with the agent.

mod agent;
mod place;

use crate::{
    outcome::{Outcome, Output, hold},
    processes::Process,
    scratch, target,
};
use fchannel_torture::{
    Answer,
    full::Part,
    record::{Loss, Record},
    role::Role,
    words::Said,
};
use place::{KINDS, Kind, Place};
use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

/// What is to be done.
pub(crate) struct Diskfull {
    /// Only these; none: all.
    pub(crate) only: Vec<String>,
    pub(crate) output: Output,
}

/// How much room the disk has when the channel is opened.
const ROOM_BYTES: u64 = 24 << 20;
const LIFE_MAX: Duration = Duration::from_secs(120);

impl Diskfull {
    pub(crate) fn run(&self) -> Answer<()> {
        if !is_root() {
            return Err("diskfull: only root may mount".into());
        }
        build_agent()?;
        let scratch = scratch("diskfull")?;
        let mut outcome = Outcome::new("diskfull");
        let mut broken = Vec::new();
        for kind in KINDS {
            if !self.only.is_empty() && !self.only.iter().any(|name| name == kind.name) {
                continue;
            }
            let started = Instant::now();
            match kind.mount(&scratch)? {
                Err(why) => outcome = outcome.row(kind.name, format!("skipped: {why}")),
                Ok(place) => {
                    eprintln!("diskfull: {}", kind.name);
                    let answer = engine(&place, kind)
                        .and_then(|told| Ok((told, agent::prove(&place, &scratch)?)));
                    let seconds = started.elapsed().as_secs();
                    match answer {
                        Ok((engine, agent)) => {
                            outcome = outcome
                                .row(format!("{} engine", kind.name), engine)
                                .row(format!("{} agent", kind.name), agent)
                                .row(format!("{} seconds", kind.name), seconds);
                        }
                        Err(error) => {
                            outcome = outcome.row(kind.name, format!("FAILED: {error}"));
                            broken.push(kind.name);
                        }
                    }
                }
            }
        }
        outcome.print(self.output);
        if !broken.is_empty() {
            return Err(format!("{broken:?}; the images are in {}", scratch.display()).into());
        }
        fs::remove_dir_all(&scratch)?;
        Ok(())
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
        line.split_whitespace().nth(2) == Some("0")
    })
}

fn build_agent() -> Answer<()> {
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--package", "fchannel-agent"])
        .current_dir(crate::root())
        .status()?;
    if status.success() { Ok(()) } else { Err("the agent cannot be built".into()) }
}

/// Free bytes of the disk below `dir`.
fn free(dir: &Path) -> Answer<u64> {
    Ok(fchannel::io::Vfs::free_bytes(&fchannel::io::StdVfs::default(), dir)?)
}

/// Has others take the room of a disk, but for `left` bytes.
fn crowd(path: &Path, left: u64) -> Answer<()> {
    let dir = path.parent().unwrap_or(path);
    let mut file = fs::File::create(path)?;
    let zeros = vec![0; 1 << 20];
    let full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
    loop {
        let free = free(dir)?;
        if free < left + (1 << 20) {
            return Ok(file.sync_all()?);
        }
        for _ in 0..((free - left) >> 21).max(1) {
            match file.write_all(&zeros) {
                // Some say that there is more room than they have.
                Err(error) if full(&error) => {
                    let len = file.metadata()?.len();
                    file.set_len(len.saturating_sub(left))?;
                    return Ok(file.sync_all()?);
                }
                answer => answer?,
            }
        }
        // Some count what is free only then.
        file.sync_all()?;
    }
}

/// Three lives of a process on the full disk, and what must hold between them.
fn engine(place: &Place, kind: Kind) -> Answer<String> {
    let program = std::env::current_exe()?;
    let dir = place.dir.join("engine");
    let (crowd_file, others) = (place.dir.join("crowd"), place.dir.join("others"));
    crowd(&crowd_file, ROOM_BYTES)?;
    let mut record = Record::default();
    for part in [Part::Fill, Part::Half, Part::Drain] {
        let role = Role::Full { dir: dir.clone(), others: others.clone(), part };
        let mut process = Process::start(&program, &role)?;
        match process.sight()? {
            Ok(sight) if part == Part::Fill && sight.events == 0 => {}
            Ok(sight) => record.settle(&sight, Loss::Nothing),
            Err(why) => record.find(format!("{part:?}: {why}")),
        }
        record.begin(part as u64);
        let mut done = false;
        process.live(LIFE_MAX, &mut record, |said| {
            done = *said == Said::Done;
            done
        })?;
        process.shoot()?;
        process.bury(&mut record)?;
        if !done {
            record.find(format!("{part:?} did not come to its end"));
        }
        for failed in record.failed().to_vec() {
            record.find(format!("{part:?}: {failed}"));
        }
        if let Some(why) = record.stopped().map(str::to_owned) {
            record.find(format!("{part:?}: {why}"));
        }
        if part == Part::Fill && record.refusals() < 4 {
            record.find(format!("{part:?}: puts were not refused"));
        }
        if !record.findings.is_empty() {
            break;
        }
    }
    fs::remove_file(&crowd_file)?;
    hold(&record).map_err(|error| format!("{}: {error}", kind.name))?;
    let program = crate::processes::look(
        &program,
        &Role::Look { dir: dir.clone(), policy: fchannel_torture::role::Policy::Each, close: true },
    )?;
    record.settle(&program?, Loss::Nothing);
    hold(&record).map_err(|error| format!("{}: {error}", kind.name))?;
    fs::remove_dir_all(&dir)?;
    let totals = record.totals;
    Ok(format!(
        "{} put, {} refused, {} taken, lost {}, out of order {}",
        totals.puts, totals.refused, totals.takes, totals.lost, totals.out_of_order
    ))
}

fn agent_program() -> std::path::PathBuf {
    target().join("release/fchannel")
}
