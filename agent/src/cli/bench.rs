//! `fchannel bench`: what a channel does on this disk beside what the disk does, and what that means.

use super::{Exit, output};
use crate::bench::{
    self, Answer, CELLS, Cell, Plan, Row, Work,
    disk::{self, Disk, Latency},
};
use clap::{Args, Subcommand, ValueEnum};
use fchannel::io::{Medium, StdVfs, Vfs};
use serde_json::{Value, json};
use std::{
    fmt::Write,
    io::{IsTerminal, stderr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The arguments of `fchannel bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Where to measure: a folder is made in it, and removed
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Bytes of an event
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    event_bytes: u32,
    /// Rounds of each cell
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long each measures in a round
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    slice_ms: u64,
    /// Only cells whose name begins so, such as `put 100x` (may be given again)
    #[arg(long)]
    only: Vec<String>,
    /// Events that wait beside what is measured: they are put first, and takes get the oldest (100000000 of 100 bytes are 10.7 GB of files)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    backlog: u64,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure how long it takes until a write is durable, and say what that means
    Disk(DiskArgs),
}

#[derive(Debug, Args)]
struct DiskArgs {
    /// A directory on the disk; a file is made in it, and removed
    dir: PathBuf,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Table,
    /// For programs
    Json,
}

pub(super) fn run(args: &BenchArgs) -> Exit {
    let answer = match &args.what {
        Some(What::Disk(args)) => measure_disk(args),
        None => measure_channel(args),
    };
    match answer {
        Ok(text) => output::finish(&text, Exit::Done),
        Err(error) => {
            output::complain(&format!("the bench cannot go on: {error}"));
            Exit::Failed
        }
    }
}

fn measure_channel(args: &BenchArgs) -> Answer<String> {
    let plan = Plan {
        event_bytes: usize::try_from(args.event_bytes)?,
        rounds: usize::from(args.rounds),
        slice: Duration::from_millis(args.slice_ms),
        backlog: args.backlog,
    };
    let cells: Vec<&Cell> =
        CELLS.iter().filter(|cell| is_wanted(args, &cell.name(&plan))).collect();
    if cells.is_empty() {
        let names: Vec<String> = CELLS.iter().map(|cell| cell.name(&plan)).collect();
        return Err(format!("no cell's name begins so; there are: {}", names.join("; ")).into());
    }
    let place = Place::new(&args.dir)?;
    let rows = bench::measure(&plan, &cells, &place.0, progress())?;
    drop(place);
    let medium = medium(&args.dir);
    Ok(match args.output {
        Form::Json => format!("{}\n", as_json(&rows, &plan, &medium)),
        Form::Table => table(&rows, &plan, &medium),
    })
}

fn is_wanted(args: &BenchArgs, name: &str) -> bool {
    args.only.is_empty() || args.only.iter().any(|start| name.starts_with(start.as_str()))
}

/// A folder that goes with the measurement.
struct Place(PathBuf);

impl Place {
    fn new(dir: &Path) -> Answer<Self> {
        let path = dir.join(format!("fchannel-bench-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", output::path(&path)))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            output::complain(&format!("{} is left behind: {error}", output::path(&self.0)));
        }
    }
}

/// How far it is, on standard error: a line that is written over on a terminal, one for each cell elsewhere.
fn progress() -> impl FnMut(usize, usize) {
    let started = Instant::now();
    move |done, of| {
        let left = started.elapsed() / u32::try_from(done.max(1)).unwrap_or(1)
            * u32::try_from(of - done).unwrap_or(0);
        let eta = if done == 0 { String::new() } else { format!("  eta {} s", left.as_secs()) };
        let is_terminal = stderr().is_terminal();
        let (start, end) = if is_terminal { ("\r", "\u{1b}[K") } else { ("", "\n") };
        let is_over = done == of;
        if !is_over {
            output::print_error(&format!("{start}bench  {done} of {of} cells{eta}{end}"));
        } else if is_terminal {
            output::print_error("\r\u{1b}[K");
        }
    }
}

/// What the directory lies on, if it is not a disk.
fn medium(dir: &Path) -> String {
    match StdVfs::default().medium(dir) {
        Ok(Medium::Memory(name)) => format!("{name}: memory, where nothing is durable"),
        Ok(Medium::Network(name)) => format!("{name}: a network file system"),
        Ok(Medium::Disk) => "a local disk".to_owned(),
        Err(error) => format!("unknown: {error}"),
    }
}

fn as_json(rows: &[Row], plan: &Plan, medium: &str) -> Value {
    let rows: Vec<Value> = rows.iter().map(row_as_json).collect();
    json!({ "schema": "fchannel.bench/1", "medium": medium, "backlog": plan.backlog, "rows": rows })
}

fn row_as_json(row: &Row) -> Value {
    let mut object = json!({
        "cell": row.name(),
        "ours_per_s": row.ours.median.round(),
        "floor_per_s": row.floor.median.round(),
        "ratio": thousandths(row.ratio.median),
        "ratio_min": thousandths(row.ratio.min),
        "ratio_max": thousandths(row.ratio.max),
        "bytes_per_s": bytes_per_second(row).round(),
        "commit_p50_us": row.p50_us,
        "commit_p99_us": row.p99_us,
        "commit_max_us": row.max_us,
        "floor_p99_us": row.floor_p99_us,
        "cpu_ns_per_event": row.cpu_ns.round(),
    });
    if let (Some(floor), Some(object)) = (row.floor_cpu_ns, object.as_object_mut()) {
        object.insert("floor_cpu_ns_per_event".to_owned(), json!(floor.round()));
    }
    if let (Some(of), Some(object)) = (row.of_put_alone, object.as_object_mut()) {
        object.insert("of_put_alone".to_owned(), json!(thousandths(of.median)));
        object.insert("of_put_alone_min".to_owned(), json!(thousandths(of.min)));
        object.insert("of_put_alone_max".to_owned(), json!(thousandths(of.max)));
    }
    if let (Some(takes), Some(object)) = (row.takes, object.as_object_mut()) {
        object.insert("take_commit_p50_us".to_owned(), json!(takes.p50_us));
        object.insert("take_commit_p99_us".to_owned(), json!(takes.p99_us));
        object.insert("take_commit_max_us".to_owned(), json!(takes.max_us));
    }
    object
}

fn thousandths(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

fn bytes_per_second(row: &Row) -> f64 {
    row.ours.median * f64::from(u32::try_from(row.event_bytes).unwrap_or(u32::MAX))
}

fn table(rows: &[Row], plan: &Plan, medium: &str) -> String {
    let mut text = String::new();
    let width = rows.iter().map(|row| row.name().len()).max().unwrap_or_default();
    push(
        &mut text,
        format_args!(
            "{:width$}  {:>10}  {:>8}  {:>10}  {:>18}  {:>7}  {:>7}  {:>7}  {:>8}  {:>7}\n",
            "",
            "events/s",
            "MB/s",
            "floor/s",
            "of the floor",
            "p50 us",
            "p99 us",
            "max us",
            "cpu ns/e",
            "floor's",
        ),
    );
    for row in rows {
        push(
            &mut text,
            format_args!(
                "{:width$}  {:>10.0}  {:>8.1}  {:>10.0}  {:>18}  {:>7}  {:>7}  {:>7}  {:>8.0}  {:>7}\n",
                row.name(),
                row.ours.median,
                bytes_per_second(row) / 1e6,
                row.floor.median,
                row.ratio.to_string(),
                row.p50_us,
                row.p99_us,
                row.max_us,
                row.cpu_ns,
                row.floor_cpu_ns.map_or_else(|| "-".to_owned(), |floor| format!("{floor:.0}")),
            ),
        );
        if let Some(Latency { p50_us, p99_us, max_us, .. }) = row.takes {
            let name = "  its takes";
            let line =
                format_args!("{name:width$}  {:>52}  {p50_us:>7}  {p99_us:>7}  {max_us:>7}\n", "");
            push(&mut text, line);
        }
    }
    push(
        &mut text,
        format_args!(
            "\nBATCHxCOMMITTERS, medians of {} rounds of {} ms; each commit is durable before it counts; on {medium}{}.\n\
         floor: one thread, append + fdatasync of the same bytes (take: plain reads of them); p50..max: one commit, of a put if any.\n\
         cpu ns/e: processor time for each event, the kernel's on its behalf included.\n\n",
            plan.rounds,
            plan.slice.as_millis(),
            if plan.backlog > 0 {
                format!(", beside a backlog of {} events", plan.backlog)
            } else {
                String::new()
            },
        ),
    );
    for line in verdict(rows) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Writing to a string cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    if text.write_fmt(arguments).is_err() {}
}

/// What the figures mean.
fn verdict(rows: &[Row]) -> Vec<String> {
    let find = |work: Work, batch: usize, committers: usize| {
        rows.iter().find(|row| {
            (row.cell.work, row.cell.batch, row.cell.committers) == (work, batch, committers)
        })
    };
    let mut lines = Vec::new();
    if let Some(one) = find(Work::Put, 1, 1) {
        let limit = if one.ratio.median >= 0.9 {
            "the disk's flush is the limit, and the channel adds nothing to it"
        } else {
            "the channel is slower than the disk here: something else is at work on this machine, or it is a bug"
        };
        lines.push(format!("one event at a time: {} us a commit: {limit}", one.p50_us));
        if let Some(many) = find(Work::Put, 1, 64) {
            lines.push(format!(
                "64 committers share flushes: {:.0} times the commits of one",
                many.ours.median / one.ours.median.max(1.0)
            ));
        }
    }
    if let Some(large) = find(Work::Put, 100, 8) {
        lines.push(format!(
            "batches of 100 by 8 committers: {:.0} MB/s made durable, {:.1} times what one thread gets that appends and syncs",
            bytes_per_second(large) / 1e6,
            large.ratio.median
        ));
    }
    if let Some(both) = find(Work::PutAndTake, 100, 1)
        && let Some(of) = both.of_put_alone
    {
        lines.push(format!(
            "through the channel, batches of 100: {:.0} events/s, {:.0} % of puts alone",
            both.ours.median,
            of.median * 100.0
        ));
    }
    if let Some(take) = find(Work::Take, 1000, 1) {
        lines.push(format!(
            "a backlog in memory is taken at {:.1} GB/s",
            bytes_per_second(take) / 1e9
        ));
    }
    lines
}

fn measure_disk(args: &DiskArgs) -> Answer<String> {
    let disk = disk::measure(&args.dir, Duration::from_millis(1500))?;
    let medium = medium(&args.dir);
    Ok(match args.output {
        Form::Json => format!("{}\n", disk_as_json(&disk, &medium)),
        Form::Table => disk_text(&disk, &medium),
    })
}

fn disk_as_json(disk: &Disk, medium: &str) -> Value {
    let latency = |latency: &Latency| {
        json!({
            "p50_us": latency.p50_us,
            "p99_us": latency.p99_us,
            "max_us": latency.max_us,
            "commits": latency.count,
        })
    };
    json!({
        "schema": "fchannel.bench-disk/1",
        "medium": medium,
        "append": latency(&disk.append),
        "overwrite": latency(&disk.overwrite),
        "io_uring": disk.io_uring.as_ref().map(latency),
        "bytes_per_s": disk.bytes_per_second.round(),
    })
}

fn disk_text(disk: &Disk, medium: &str) -> String {
    let line = |name: &str, latency: &Latency| {
        format!(
            "{name}   p50 {:.2} ms   p99 {:.2} ms   max {:.1} ms\n",
            f64::from(latency.p50_us) / 1e3,
            f64::from(latency.p99_us) / 1e3,
            f64::from(latency.max_us) / 1e3
        )
    };
    let mut text = format!("{medium}\n");
    text.push_str(&line("4 KiB append + fdatasync   ", &disk.append));
    text.push_str(&line("4 KiB overwrite + fdatasync", &disk.overwrite));
    if let Some(ring) = &disk.io_uring {
        text.push_str(&line("the same in one io_uring    ", ring));
    }
    push(
        &mut text,
        format_args!("1 MiB writes, each synced      {:.0} MB/s\n", disk.bytes_per_second / 1e6),
    );
    push(
        &mut text,
        format_args!(
            "means    about {:.0} commits/s for one writer; group commit and larger batches multiply that\n",
            disk.overwrite.commits_per_second()
        ),
    );
    for line in disk_verdict(disk) {
        push(&mut text, format_args!("         {line}\n"));
    }
    text
}

/// What an operator should know of such a disk.
fn disk_verdict(disk: &Disk) -> Vec<String> {
    let mut lines = Vec::new();
    let flush = disk.overwrite.p50_us;
    lines.push(match flush {
        0..20 => "a flush takes next to no time: a disk with a cache that survives a power cut, or one that lies".to_owned(),
        20..1000 => "a fast flush: one commit for each event is affordable".to_owned(),
        1000..10_000 => "an ordinary flush: let batches grow to tens of events".to_owned(),
        _ => "a slow flush, as of a spinning disk: batches of hundreds of events, or several committers, hide it".to_owned(),
    });
    if disk.append.p50_us > flush.saturating_mul(3) / 2 {
        lines.push(format!(
            "an append costs {:.1} times an overwrite: the file system writes metadata for it; a channel writes over old blocks",
            f64::from(disk.append.p50_us) / f64::from(flush.max(1))
        ));
    }
    lines.push(match &disk.io_uring {
        None => {
            "the kernel gives no io_uring: `commitCalls = ioUring` would change nothing".to_owned()
        }
        Some(ring) if ring.p50_us * 20 < flush * 19 => format!(
            "io_uring is {:.0} % faster: set `commitCalls = ioUring`",
            (f64::from(flush) / f64::from(ring.p50_us.max(1)) - 1.0) * 100.0
        ),
        Some(_) => "io_uring is no faster: leave `commitCalls` as it is".to_owned(),
    });
    if disk.overwrite.p99_us > flush.saturating_mul(10) {
        lines.push("one flush in a hundred takes ten times as long: somebody else uses this disk, or it is throttled".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::spread::Spread;

    fn row(work: Work, batch: usize, committers: usize, ours: f64, floor: f64) -> Row {
        let of = |figure| Spread::of([figure]);
        Row {
            cell: Cell { work, batch, committers },
            event_bytes: 500,
            ours: of(ours),
            floor: of(floor),
            ratio: of(ours / floor),
            of_put_alone: (work == Work::PutAndTake).then(|| of(0.9)),
            takes: (work == Work::PutAndTake).then_some(Latency {
                p50_us: 90,
                p99_us: 91,
                max_us: 92,
                count: 9,
            }),
            p50_us: 120,
            p99_us: 300,
            max_us: 900,
            floor_p99_us: 400,
            cpu_ns: 250.0,
            floor_cpu_ns: Some(200.0),
        }
    }

    #[test]
    fn a_row_says_what_was_measured_beside_what() {
        let json = as_json(
            &[row(Work::Put, 100, 8, 900_000.0, 300_000.0)],
            &Plan::default(),
            "a local disk",
        );
        assert_eq!(json["schema"], "fchannel.bench/1");
        let row = &json["rows"][0];
        assert_eq!(row["cell"], "put 100x8 500B");
        assert_eq!(
            (&row["ours_per_s"], &row["floor_per_s"]),
            (&json!(900_000.0), &json!(300_000.0))
        );
        assert_eq!(row["ratio"], 3.0);
        assert_eq!(row["bytes_per_s"], 450e6);
        assert!(row.get("of_put_alone").is_none());
    }

    #[test]
    fn latencies_of_takes_stand_below_those_of_the_puts_beside_them() {
        let rows = [row(Work::Put, 1, 1, 8e3, 5e3), row(Work::PutAndTake, 100, 1, 4e5, 3e5)];
        let text = table(&rows, &Plan { backlog: 7, ..Plan::default() }, "a local disk");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].ends_with("120      300      900       250      200"), "{text}");
        assert!(lines[3].contains("its takes") && lines[3].ends_with("90       91       92"));
        assert_eq!(lines[3].len() + "  cpu ns/e  floor's".len(), lines[2].len(), "{text}");
        assert!(text.contains("beside a backlog of 7 events"), "{text}");
        assert_eq!(row_as_json(&rows[1])["take_commit_p99_us"], 91);
    }

    #[test]
    fn the_verdict_tells_a_disk_that_limits_from_a_channel_that_does() {
        let good = verdict(&[row(Work::Put, 1, 1, 8_000.0, 5_000.0)]);
        assert!(good[0].contains("the disk's flush is the limit"), "{good:?}");
        let bad = verdict(&[row(Work::Put, 1, 1, 3_000.0, 5_000.0)]);
        assert!(bad[0].contains("slower than the disk"), "{bad:?}");
        let both = verdict(&[row(Work::PutAndTake, 100, 1, 400_000.0, 300_000.0)]);
        assert_eq!(
            both,
            ["through the channel, batches of 100: 400000 events/s, 90 % of puts alone"]
        );
    }

    #[test]
    fn a_disk_is_judged_by_its_flush() {
        let latency = |p50_us, p99_us| Latency { p50_us, p99_us, max_us: p99_us, count: 100 };
        let disk =
            |append, overwrite| Disk { append, overwrite, io_uring: None, bytes_per_second: 1e9 };
        let slow = disk_verdict(&disk(latency(12_000, 20_000), latency(11_000, 15_000)));
        assert_eq!(slow.len(), 2);
        assert!(slow[1].contains("no io_uring"), "{slow:?}");
        assert!(slow[0].contains("spinning"), "{slow:?}");
        let uneven = disk_verdict(&disk(latency(600, 900), latency(200, 5_000)));
        assert_eq!(uneven.len(), 4, "{uneven:?}");
        assert!(uneven[1].contains("3.0 times"), "{uneven:?}");
        let ring = |p50_us| {
            let io_uring = Some(latency(p50_us, 5_000));
            disk_verdict(&Disk { io_uring, ..disk(latency(200, 900), latency(200, 900)) }).remove(1)
        };
        assert_eq!(ring(160), "io_uring is 25 % faster: set `commitCalls = ioUring`");
        assert!(ring(195).contains("no faster"));
    }

    #[test]
    fn every_cell_can_be_asked_for_by_its_name() {
        let names: Vec<String> = CELLS.iter().map(|cell| cell.name(&Plan::default())).collect();
        for name in
            ["put 1x1 500B", "put 1x8 500B", "put 1x64 500B", "put 100x1 500B", "put 100x8 500B"]
        {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
}
