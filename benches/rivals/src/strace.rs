//! Whether each peer syncs: commits of one committer, beside the system calls that strace counts meanwhile.

use crate::{
    flume::Flume,
    measure::{self, Shape},
    peers::{Answer, PEERS},
    plan::{Form, Plan},
};
use fchannel_benches::noise;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// Those that can make something durable, or write it. The last two may do so unseen.
const CALLS: &str =
    "fsync,fdatasync,msync,sync_file_range,write,pwrite64,writev,pwritev,pwritev2,io_uring_enter";
/// These return when the disk has it. `sync_file_range` is none of them: it leaves the disk's own cache as it is.
const SYNCS: [&str; 3] = ["fsync", "fdatasync", "msync"];
const UNSEEN: [&str; 2] = ["pwritev2", "io_uring_enter"];
const ONE: Shape = Shape { batch: 1, committers: 1 };
const FLUME_EVENTS: usize = 2_000;

/// How often each call was made.
type Calls = BTreeMap<String, u64>;

/// One peer for a second, in a process of its own: commits, printed.
pub(crate) fn alone(plan: &Plan, name: &str) -> Answer<()> {
    let entry = PEERS.iter().find(|entry| entry.name == name).ok_or("there is no such peer")?;
    let peer = (entry.open)(&plan.dir)?;
    let event = noise(7, event_bytes(plan));
    let slice = measure::puts(&*peer, ONE, &event, Duration::from_secs(1))?;
    println!("{}", slice.latencies_us.len());
    Ok(())
}

/// One size is enough to see who syncs.
fn event_bytes(plan: &Plan) -> usize {
    plan.event_bytes().first().copied().unwrap_or(500)
}

pub(crate) fn run(plan: &Plan, base: &Path) -> Answer<()> {
    let (mut rows, event_bytes) = (Vec::new(), event_bytes(plan));
    let is_json = plan.form == Some(Form::Json);
    let this = std::env::current_exe()?.to_string_lossy().into_owned();
    for entry in plan.peers().filter(|entry| entry.does.commits()) {
        let dir = tempfile::tempdir_in(base)?;
        let peer_dir = dir.path().join("peer").to_string_lossy().into_owned();
        let size = event_bytes.to_string();
        let words =
            [this.as_str(), "--alone", entry.name, "--dir", &peer_dir, "--event-bytes", &size];
        let (printed, calls) = traced(&words.map(str::to_owned), dir.path())?;
        let commits = printed.trim().parse().map_err(|_| format!("{}: {printed:?}", entry.name))?;
        rows.push((entry.name, commits, calls));
    }
    if let Some(command) = &plan.flume {
        let dir = tempfile::tempdir_in(base)?;
        let flume = Flume::new(command, &dir.path().join("peer"), event_bytes, plan.flume_time);
        let (_, calls) = traced(&flume.words("put", FLUME_EVENTS, ONE), dir.path())?;
        rows.push((Flume::NAME, FLUME_EVENTS as u64, calls));
    }
    if is_json {
        let rows: Vec<Value> =
            rows.iter().map(|(peer, commits, calls)| as_json(peer, *commits, calls)).collect();
        println!("{}", json!({"schema": "fchannel.rivals/1", "strace": rows}));
        return Ok(());
    }
    println!(
        "Commits of one event of {} bytes by one committer, in a process under strace, its opening and end included.\n",
        event_bytes
    );
    println!(
        "| peer | commits | fsync + fdatasync + msync | for each commit | | other calls |\n|---|---|---|---|---|---|"
    );
    for (peer, commits, calls) in rows {
        let others: Vec<String> = calls
            .iter()
            .filter(|(call, _)| !SYNCS.contains(&call.as_str()))
            .map(|(call, times)| format!("{call} {times}"))
            .collect();
        println!(
            "| {peer:<13} | {commits:>7} | {:>7} | {:>5.2} | {} | {} |",
            syncs(&calls),
            per_commit(commits, &calls),
            verdict(commits, &calls),
            others.join(", "),
        );
    }
    Ok(())
}

fn as_json(peer: &str, commits: u64, calls: &Calls) -> Value {
    json!({
        "peer": peer,
        "commits": commits,
        "syncs": syncs(calls),
        "syncs_per_commit": per_commit(commits, calls),
        "verdict": verdict(commits, calls),
        "calls": calls,
    })
}

fn sum(calls: &Calls, names: &[&str]) -> u64 {
    names.iter().filter_map(|name| calls.get(*name)).sum()
}

fn syncs(calls: &Calls) -> u64 {
    sum(calls, &SYNCS)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a second")]
fn per_commit(commits: u64, calls: &Calls) -> f64 {
    syncs(calls) as f64 / commits.max(1) as f64
}

/// One committer that waits for each commit leaves nothing to share a sync with.
fn verdict(commits: u64, calls: &Calls) -> &'static str {
    if syncs(calls) >= commits {
        "durable"
    } else if sum(calls, &UNSEEN) >= commits {
        "not seen: pwritev2 or io_uring may sync"
    } else {
        "NOT DURABLE"
    }
}

/// Runs a program under strace: what it printed, and how often it made which call.
fn traced(words: &[String], dir: &Path) -> Answer<(String, Calls)> {
    let counted = dir.join("strace");
    let ran = Command::new("strace")
        .args(["-f", "-c", "-e", &format!("trace={CALLS}"), "-o"])
        .arg(&counted)
        .args(words)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("strace: {error}"))?;
    if !ran.status.success() {
        return Err(format!("strace {}: {}", words.join(" "), ran.status).into());
    }
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    Ok((printed, parse(&fs::read_to_string(counted)?)))
}

/// `% time, seconds, usecs/call, calls, [errors,] syscall` in each line.
fn parse(table: &str) -> Calls {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.last().filter(|name| CALLS.split(',').any(|call| call == **name))?;
        Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_read_off_straces_table() {
        let calls = parse(
            "% time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ----------------\n \
             98.41    0.412345          75      5432           fdatasync\n  \
             1.59    0.006655           1      5440         3 write\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             100.00    0.419000          38     10872         3 total\n",
        );
        assert_eq!(
            calls,
            Calls::from([("fdatasync".to_owned(), 5432), ("write".to_owned(), 5440)])
        );
        assert_eq!(verdict(5430, &calls), "durable");
        assert_eq!(verdict(6000, &calls), "NOT DURABLE");
        assert_ne!(verdict(9, &Calls::from([("io_uring_enter".to_owned(), 9)])), "NOT DURABLE");
    }
}
