//! `kill9`: the engine on the real disk, killed with SIGKILL while eight threads put and two take, again and again.

use crate::{
    outcome::{Outcome, Output, hold},
    processes::{Process, look},
    progress::Progress,
    scratch,
};
use fchannel_torture::{
    Answer,
    chance::Chance,
    record::{Loss, Record},
    role::{Policy, Role},
    words::Said,
};
use std::{fs, path::PathBuf};

/// What is to be done.
pub(crate) struct Kill9 {
    pub(crate) rounds: u64,
    pub(crate) seed: u64,
    pub(crate) policy: Policy,
    pub(crate) output: Output,
}

impl Kill9 {
    pub(crate) fn run(&self) -> Answer<()> {
        let dir = scratch("kill9")?;
        let mut run = Run {
            program: std::env::current_exe()?,
            dir: dir.join("channel"),
            policy: self.policy,
            chance: Chance::new(self.seed),
            record: Record::default(),
            rewritten: 0,
        };
        eprintln!("kill9: {} rounds, --seed {}", self.rounds, self.seed);
        let mut progress = Progress::new("kill9", self.rounds);
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
        Outcome::new("kill9")
            .row("rounds", done)
            .row("seconds", progress.took().as_secs())
            .record(&run.record)
            .row("frames written anew", run.rewritten)
            .print(self.output);
        answer.and_then(|()| hold(&run.record)).map_err(|error| {
            format!("round {done} of --seed {}: {error}\nkept: {}", self.seed, dir.display())
        })?;
        fs::remove_dir_all(&dir)?;
        Ok(())
    }
}

struct Run {
    program: PathBuf,
    dir: PathBuf,
    policy: Policy,
    chance: Chance,
    record: Record,
    rewritten: u64,
}

impl Run {
    /// One life, one death, one look.
    fn round(&mut self, round: u64) -> Answer<()> {
        self.record.begin(round);
        let seed = self.chance.any();
        let role = Role::Live { dir: self.dir.clone(), round, seed, policy: self.policy };
        let mut process = Process::start(&self.program, &role)?;
        // Some die while they open what the last death left.
        let time = if self.chance.percent(20) {
            self.chance.microseconds(0, 25_000)
        } else {
            let said = process.first_word()?;
            if said != Said::Up {
                return Err(format!("the channel cannot be opened: {said}").into());
            }
            self.chance.microseconds(1_000, 550_000)
        };
        let stopped = process.live(time, &mut self.record, |said| {
            matches!(said, Said::Stopped(_) | Said::Shut(_))
        })?;
        process.shoot()?;
        process.bury(&mut self.record)?;
        if stopped {
            let why = self.record.stopped().unwrap_or("the process ended by itself");
            return Err(format!("there was no fault, and: {why}").into());
        }
        self.examine()
    }

    fn examine(&mut self) -> Answer<()> {
        let close = self.chance.percent(50);
        let role = Role::Look { dir: self.dir.clone(), policy: self.policy, close };
        let sight = look(&self.program, &role)?;
        let sight = sight?;
        self.rewritten += sight.rewritten;
        self.record.settle(&sight, Loss::Nothing);
        Ok(())
    }
}
