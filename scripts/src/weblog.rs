//! `cargo x weblog`: the proof. A real web server under load, an agent that tails its access log through a file channel into files, and
//! SIGKILL for the agent, again and again, while the log is rotated under it.
//!
//! What must hold at the end, and what is checked: see [`check`].

mod agent;
mod check;
mod nginx;

use crate::{
    chance::Chance,
    shell::{Answer, Arguments, scratch},
};
use agent::Agent;
pub(crate) use agent::binary as agent_binary;
use check::{Delivered, Logged, Verdict};
use nginx::{Load, Nginx};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Events of one transaction of the sink: so many may come twice after a kill.
const SINK_BATCH: usize = 100;
/// How long the rest may take once the load has ended.
const DRAIN_MAX: Duration = Duration::from_secs(60);

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    let kills = arguments.number("--kills", 20)?;
    let seed = arguments.number("--seed", Chance::fresh_seed())?;
    let binary = agent_binary(arguments)?;
    nginx::install()?;
    let place = Place::make(scratch("weblog")?)?;
    println!("weblog: {kills} kills, --seed {seed}, {}", place.root.display());
    let proof = prove(&place, &binary, kills, &mut Chance::new(seed));
    let keep = arguments.has("--keep") || proof.is_err();
    if keep {
        println!("kept: {}", place.root.display());
    } else {
        fs::remove_dir_all(&place.root)?;
    }
    proof
}

/// The directories of a run.
struct Place {
    root: PathBuf,
    /// nginx's prefix; its access logs are in `logs`.
    server: PathBuf,
    logs: PathBuf,
    channel: PathBuf,
    out: PathBuf,
}

impl Place {
    fn make(root: PathBuf) -> Answer<Self> {
        let server = root.join("nginx");
        let place = Self {
            logs: server.join("logs"),
            channel: root.join("channel"),
            out: root.join("out"),
            server,
            root,
        };
        for dir in [&place.server, &place.logs, &place.out] {
            fs::create_dir_all(dir)?;
        }
        Ok(place)
    }

    /// nginx's present access log.
    fn access_log(&self) -> PathBuf {
        self.logs.join("access.log")
    }

    /// All access logs, the rotated ones too.
    fn logged(&self) -> Answer<Logged> {
        Logged::read(&files_in(&self.logs)?)
    }

    fn delivered(&self) -> Answer<Delivered> {
        Delivered::read(&files_in(&self.out)?)
    }
}

fn files_in(dir: &Path) -> Answer<Vec<PathBuf>> {
    let files = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Answer<Vec<_>>>()?;
    Ok(files.into_iter().filter(|path| path.is_file()).collect())
}

fn prove(place: &Place, binary: &Path, kills: u64, chance: &mut Chance) -> Answer<()> {
    let conf = agent::write_conf(place, SINK_BATCH)?;
    let server = Nginx::start(&place.server, &place.access_log())?;
    let load = Load::start(server.port());
    let mut rotations = 0;
    let mut inspected = Ok(());
    for kill in 1..=kills {
        let mut agent = Agent::start(binary, &conf, &place.root)?;
        agent.live_for(chance.milliseconds(150, 900))?;
        // A third and two thirds of the way through, the log is rotated while the agent reads it.
        if kill == kills.div_ceil(3) || kill == kills.div_ceil(3) * 2 {
            rotations += 1;
            server.rotate(&place.logs.join(format!("access.log.{rotations}")))?;
            agent.live_for(chance.milliseconds(5, 300))?;
        }
        agent.kill()?;
        if kill == kills.div_ceil(2) {
            inspected = agent::inspect(binary, &place.channel);
        }
    }
    let mut agent = Agent::start(binary, &conf, &place.root)?;
    agent.live_for(Duration::from_millis(500))?;
    let requests = load.stop()?;
    server.stop()?;
    let logged = place.logged()?;
    drain(place, &mut agent, &logged)?;
    agent.terminate()?;
    let verdict = check::judge(&logged, &place.delivered()?, SINK_BATCH);
    print_result(kills, rotations, requests, &verdict);
    if verdict.holds() { inspected } else { Err("the promise does not hold".into()) }
}

/// Waits until all is delivered, as long as something moves.
fn drain(place: &Place, agent: &mut Agent, logged: &Logged) -> Answer<()> {
    let started = Instant::now();
    while started.elapsed() < DRAIN_MAX {
        if place.delivered()?.lacks(logged) == 0 {
            println!("drained in {} ms", started.elapsed().as_millis());
            return Ok(());
        }
        agent.live_for(Duration::from_millis(500))?;
    }
    println!("not drained within {} s", DRAIN_MAX.as_secs());
    Ok(())
}

fn print_result(kills: u64, rotations: u64, requests: u64, verdict: &Verdict) {
    println!("\n| what | count |\n|---|---|");
    println!("| kill -9 of the agent | {kills} |\n| rotations of the log | {rotations} |");
    println!("| requests answered | {requests} |");
    println!("{verdict}");
    println!("{}", if verdict.holds() { "weblog: proved" } else { "weblog: NOT proved" });
}
