//! `cargo x TASK`: the project's own chores. One file per task.

mod bench;
mod chance;
mod ci;
mod fuzz;
mod instructions;
mod latency;
mod loom;
mod restart;
mod rivals;
mod shell;
mod shippers;
mod sim;
mod tidy;
mod torn;
mod torture;
mod weblog;

use shell::{Answer, Arguments};
use std::process::ExitCode;

/// A chore: its name, what it does, and how.
struct Task {
    name: &'static str,
    does: &'static str,
    run: fn(&Arguments) -> Answer<()>,
}

const TASKS: &[Task] = &[
    Task {
        name: "ci",
        does: "everything that must be green before a merge; --skip STEP leaves one out",
        run: ci::run,
    },
    Task {
        name: "tidy",
        does: "house rules; --imports prints who imports whom, --sizes the lengths of files",
        run: tidy::run,
    },
    Task {
        name: "bench",
        does: "`fchannel bench`: a channel beside the disk itself, under a minute; --dir D, --only CELL; --quick: to see that it runs",
        run: bench::run,
    },
    Task {
        name: "rivals",
        does: "us, rivals and the raw floor in one run, minutes; --help; --strace: do they sync; --check",
        run: rivals::run,
    },
    Task {
        name: "instructions",
        does: "instructions and allocations of each path beside those that are kept; --bless keeps these",
        run: instructions::run,
    },
    Task {
        name: "restart",
        does: "open time and memory with --events N of --event-bytes B waiting after a kill -9",
        run: restart::run,
    },
    Task {
        name: "latency",
        does: "socket write to log line through an idle agent, beside fdatasync",
        run: latency::run,
    },
    Task {
        name: "shippers",
        does: "the agent as a syslog server under load; --connections N --size B --seconds S, or --bench COMMAND with others",
        run: shippers::run,
    },
    Task {
        name: "fuzz",
        does: "fuzz targets: --target T --seconds N, or --hours H on nightly; --smoke on stable; seeds; replay TARGET FILE",
        run: fuzz::run,
    },
    Task {
        name: "sim",
        does: "--seeds N histories with crashes, --from S, --jobs J; --plant NAME or all: with a bug planted",
        run: sim::run,
    },
    Task {
        name: "kill9",
        does: "the engine killed --rounds N times while it puts and takes",
        run: |arguments| torture::run("kill9", arguments),
    },
    Task {
        name: "powercut",
        does: "the same on a disk of ours whose power is cut, --rounds N times; --plant BUG must be caught",
        run: |arguments| torture::run("powercut", arguments),
    },
    Task {
        name: "diskfull",
        does: "full disks: ext4, xfs, btrfs on loop devices; the engine and the agent; needs root",
        run: |arguments| torture::run("diskfull", arguments),
    },
    Task {
        name: "torn",
        does: "a small log cut at each length, each bit flipped, and what came of it; --quick",
        run: torn::run,
    },
    Task {
        name: "loom",
        does: "all interleavings of small cases; --preemptions N; --plant NAME or --plants: planted bugs must be found",
        run: loom::run,
    },
    Task {
        name: "weblog",
        does: "the agent killed --kills N times while it tails nginx's access log",
        run: weblog::run,
    },
];

fn usage() -> String {
    let mut text = String::from("usage: cargo x TASK [OPTIONS]\n");
    for task in TASKS {
        text += &format!("\n  {:<12} {}", task.name, task.does);
    }
    text
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("{}", usage());
        return ExitCode::from(2);
    };
    match (task.run)(&Arguments::new(words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
