//! The proofs with real processes on a real kernel: `cargo x kill9`, `cargo x powercut`, `cargo x diskfull`.

mod disk;
mod diskfull;
mod kill9;
mod outcome;
mod plant;
mod powercut;
mod processes;
mod progress;

use clap::{Parser, Subcommand, ValueEnum};
use fchannel_torture::{
    Answer,
    chance::Chance,
    role::{Policy, Role},
};
use outcome::Output;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Parser)]
#[command(name = "cargo x", about = "Proofs with real processes on a real kernel")]
struct Arguments {
    #[command(subcommand)]
    proof: Proof,
}

#[derive(Subcommand)]
enum Proof {
    /// The engine on the real disk, killed with SIGKILL while eight threads put and two take
    Kill9 {
        /// How many deaths
        #[arg(long, default_value_t = 20)]
        rounds: u64,
        /// Where chance comes from; drawn and printed if it is not given
        #[arg(long)]
        seed: Option<u64>,
        /// When a commit counts as done
        #[arg(long, value_enum, default_value_t = When::Each)]
        policy: When,
        /// How the result is printed
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// The same on a disk of our own, whose power is cut, whose syncs fail, forget and lie, and which runs full
    Powercut {
        /// How many deaths
        #[arg(long, default_value_t = 20)]
        rounds: u64,
        /// Where chance comes from; drawn and printed if it is not given
        #[arg(long)]
        seed: Option<u64>,
        /// When a commit counts as done; if it is not given, some rounds so, some so
        #[arg(long, value_enum)]
        policy: Option<When>,
        /// Builds the engine with a bug, which must be caught
        #[arg(long, value_enum)]
        plant: Option<plant::Plant>,
        /// How the result is printed
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Full disks, on ext4, xfs, btrfs and tmpfs: the engine, and the agent
    Diskfull {
        /// Only this file system; may be given more than once
        #[arg(long)]
        only: Vec<String>,
        /// How the result is printed
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    /// After its sync
    Each,
    /// After its write; syncs follow by time
    Interval,
}

impl From<When> for Policy {
    fn from(when: When) -> Self {
        match when {
            When::Each => Self::Each,
            When::Interval => Self::Interval,
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Ok(Some(_)) = Role::of(&words) {
        return fchannel_torture::role::main();
    }
    let answer = match Arguments::parse().proof {
        Proof::Kill9 { rounds, seed, policy, output } => {
            let seed = seed.unwrap_or_else(Chance::fresh_seed);
            kill9::Kill9 { rounds, seed, policy: policy.into(), output }.run()
        }
        Proof::Powercut { rounds, seed, policy, plant, output } => {
            let seed = seed.unwrap_or_else(Chance::fresh_seed);
            let policy = policy.map(Policy::from);
            powercut::Powercut { rounds, seed, policy, plant, output }.run()
        }
        Proof::Diskfull { only, output } => diskfull::Diskfull { only, output }.run(),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where what is built goes, on a real disk.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A directory of this name, empty.
fn scratch(name: &str) -> Answer<PathBuf> {
    let dir = target().join("scratch").join(format!("{name}-{}", std::process::id()));
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&dir)?,
    }
    Ok(dir)
}
