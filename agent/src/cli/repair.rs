//! `fchannel repair`: sets damage aside, a plan first, and takes that back.

use super::{
    Exit,
    channel::{fail, resolve},
    output,
};
use crate::{
    inspect::{RepairPage, undo_of},
    registry::Registry,
};
use clap::{Args, Subcommand, ValueEnum};
use fchannel::{
    Finding, Inspector, Severity, Verify,
    io::Holder,
    repair::{self, Repaired},
};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

const REPORT_BYTES_MAX: u64 = 64 << 20;
const UNDONE: &str = "undone";
const NOTHING_TO_DO: &str = "nothing to do: nothing here needs a repair, and nothing was changed\n";
const NOTHING_HELPS: &str = "nothing was changed; there is nothing that a repair could do\n";

const EXITS: &str = "\
Without --apply nothing is changed: the plan is printed. With it, damage is set aside in the channel's quarantine, and a new segment says
which events are lost; no file that was there is changed. The report is written beside the checkpoints; `repair undo REPORT` takes it all
back, to the byte, as long as nobody has used the channel since.

Exit codes:
   0  nothing to do; or repaired, and nothing is lost; or undone
   1  a file cannot be read or written; there is no way back
   3  a plan: there is something to do
   4  repaired, and events are lost: the report says which
   5  the channel is locked by a live process
   6  not a channel, or of a newer format";

/// The arguments of `fchannel repair`.
#[derive(Debug, Args)]
#[command(after_help = EXITS, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct RepairArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Any one of the channel's directories, or AGENT.CHANNEL with --conf
    #[arg(required = true)]
    channel: Option<String>,
    /// Configuration file in which AGENT.CHANNEL is looked up
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Carry the plan out
    #[arg(long)]
    apply: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take a repair back, to the byte
    Undo {
        /// The report of the repair; afterwards it is named REPORT.undone
        report: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
}

pub(super) fn run(args: &RepairArgs, registry: &Registry) -> Exit {
    let exit = match (&args.verb, &args.channel) {
        (Some(Verb::Undo { report }), _) => undo(report),
        (None, Some(channel)) => resolve(channel, args.conf.as_deref(), registry)
            .and_then(|dir| if args.apply { apply(args, &dir) } else { plan(args, &dir) }),
        (None, None) => Err(Exit::Usage),
    };
    exit.unwrap_or_else(|exit| exit)
}

fn plan(args: &RepairArgs, dir: &Path) -> Result<Exit, Exit> {
    let holder = Inspector::open(dir).map_err(|error| fail(&error))?.holder();
    let repaired = repair::plan(dir).map_err(|error| fail(&error))?;
    let page = page(&repaired, false, &[]);
    if let Holder::Process { pid } = holder {
        let pid = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
        output::print_error(&format!(
            "note: {pid} has the channel open: this holds for now, and --apply needs it stopped\n"
        ));
    }
    let exit = if page.has_something() { Exit::Findings } else { Exit::Done };
    let end = match (exit, page.changes()) {
        (Exit::Done, _) => NOTHING_TO_DO,
        (_, true) => "nothing was changed; add --apply to carry this out\n",
        (_, false) => NOTHING_HELPS,
    };
    Ok(output::finish(&text(args, &page, dir, end), exit))
}

fn apply(args: &RepairArgs, dir: &Path) -> Result<Exit, Exit> {
    let inspector = Inspector::open(dir).map_err(|error| fail(&error))?;
    let (home, _) = inspector.directories_to_change().map_err(|error| fail(&error))?;
    // Before the deed: where there is no place for the report, nothing is done.
    let report = Report::begin(home).map_err(|error| {
        output::complain(&format!("no report can be written to {}: {error}", output::path(home)));
        Exit::Failed
    })?;
    drop(inspector);
    let repaired = repair::repair(dir).map_err(|error| fail(&error))?;
    // Whatever becomes of this, the deed is done, and the report of it the only way back.
    let (after, is_checked) =
        findings_after(dir).map_or_else(|_| (Vec::new(), false), |after| (after, true));
    let page = page(&repaired, true, &after);
    if !page.changes() {
        let (exit, end) = match page.has_something() {
            true => (Exit::Findings, NOTHING_HELPS),
            false => (Exit::Done, NOTHING_TO_DO),
        };
        return Ok(output::finish(&text(args, &page, dir, end), exit));
    }
    let report = match report.write(&page) {
        Ok(report) => report,
        Err(error) => {
            output::complain(&format!("the report could not be written: {error}; here it is"));
            return Ok(output::finish(&format!("{:#}\n", page.json()), Exit::Failed));
        }
    };
    let report = output::path(&report);
    let verified = if !is_checked {
        "not possible: see above".to_owned()
    } else if after.is_empty() {
        "clean".to_owned()
    } else {
        let codes: Vec<&str> = after.iter().map(|finding| finding.code).collect();
        format!("still {}: a repair cannot mend that", codes.join(", "))
    };
    let end = format!(
        "verify   {verified}\nreport   {report}\nundo     fchannel repair undo {report}\n\
         look     fchannel quarantine list {}\n",
        output::path(dir)
    );
    let exit = match (is_checked, page.lost()) {
        (false, _) => Exit::Failed,
        (true, 0) => Exit::Done,
        (true, _) => Exit::Partial,
    };
    Ok(output::finish(&text(args, &page, dir, &end), exit))
}

fn page<'a>(
    repaired: &'a Repaired,
    applied: bool,
    findings_after: &'a [Finding],
) -> RepairPage<'a> {
    let time_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    RepairPage { repaired, applied, time_ms, findings_after }
}

fn text(args: &RepairArgs, page: &RepairPage<'_>, dir: &Path, end: &str) -> String {
    if args.output == Form::Json {
        return format!("{:#}\n", page.json());
    }
    if !page.has_something() {
        return end.to_owned();
    }
    let mut lines = page.lines(&dir.to_string_lossy());
    lines.push(end.to_owned());
    lines.join("\n")
}

fn findings_after(dir: &Path) -> Result<Vec<Finding>, Exit> {
    let verified = Inspector::open(dir)
        .and_then(|inspector| inspector.verify(Verify::default(), |_| {}))
        .map_err(|error| fail(&error))?;
    let calls = verified.findings.into_iter();
    Ok(calls.filter(|finding| finding.severity > Severity::Info).collect())
}

/// The report, under a temporary name until all of it is durable.
struct Report {
    home: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Report {
    /// Makes an empty one, durable on return.
    fn begin(home: &Path) -> io::Result<Self> {
        let temporary = home.join(format!("repair-{}.json.tmp", std::process::id()));
        let file = File::create(&temporary)?;
        file.sync_all()?;
        Ok(Self { home: home.to_path_buf(), temporary, file })
    }

    /// Writes it beside the checkpoints, whole or not at all, under a name that is not taken, durable on return.
    fn write(mut self, page: &RepairPage<'_>) -> io::Result<PathBuf> {
        self.file.write_all(format!("{:#}\n", page.json()).as_bytes())?;
        self.file.sync_all()?;
        let time = i64::try_from(page.time_ms).unwrap_or_default();
        let time = jiff::Timestamp::from_millisecond(time).unwrap_or_default();
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let names = (1..100).map(|number| match number {
            1 => format!("repair-{time}.json"),
            _ => format!("repair-{time}-{number}.json"),
        });
        for path in names.map(|name| self.home.join(name)) {
            if !fs::exists(&path)? {
                fs::rename(&self.temporary, &path)?;
                File::open(&self.home)?.sync_all()?;
                return Ok(path);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.temporary));
    }
}

fn undo(report: &Path) -> Result<Exit, Exit> {
    let refuse = |what: &str| {
        output::complain(&format!("{}: {what}", output::path(report)));
        Exit::Failed
    };
    if report.extension().is_some_and(|extension| extension == UNDONE) {
        return Err(refuse("this repair was undone already"));
    }
    let mut bytes = Vec::new();
    File::open(report)
        .and_then(|file| file.take(REPORT_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| refuse(&error.to_string()))?;
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| refuse(&error.to_string()))?;
    let undo = undo_of(&value).map_err(|what| refuse(&what))?;
    // A copy of a channel brings its report along, and that names the files of the original.
    let lies_in = report.canonicalize().ok().and_then(|path| Some(path.parent()?.to_path_buf()));
    if lies_in.is_none() || lies_in != undo.home.canonicalize().ok() {
        return Err(refuse(&format!(
            "it is about {}, and does not lie there",
            output::path(&undo.home)
        )));
    }
    repair::undo(&undo).map_err(|error| fail(&error))?;
    let mut undone = report.as_os_str().to_owned();
    undone.push(format!(".{UNDONE}"));
    fs::rename(report, &undone).map_err(|error| refuse(&format!("it is undone, but: {error}")))?;
    let text = format!(
        "undone: all files are what they were before the repair\nreport   {}\n",
        output::path(Path::new(&undone))
    );
    Ok(output::finish(&text, Exit::Done))
}
