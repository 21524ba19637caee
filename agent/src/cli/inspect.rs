//! `fchannel inspect`: looks into a channel, live or not, and changes nothing.

use super::{
    Exit,
    channel::{ChannelArgs, fail, resolve},
    output,
};
use crate::{
    inspect::{
        self, BodyForm, EventOptions, Filter, Form, FrameOptions, Out, Seen, Select, VerifyOptions,
    },
    registry::Registry,
};
use clap::{Args, Subcommand, ValueEnum};
use fchannel::{Inspector, Position, Verify, Which};
use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
};

const EXITS: &str = "\
A CHANNEL is any one of its directories, or AGENT.CHANNEL with --conf FILE. Nothing in it is changed, and no lock is taken.

Exit codes:
   0  nothing wrong was found; a torn end is what a crash leaves
   1  a file cannot be read
   3  damage was found, or nothing with --fail-if-empty
   6  not a channel, or of a newer format
  78  the configuration file names no such channel";

/// The arguments of `fchannel inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub struct InspectArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// One screen: live or not, what waits and how long, files, what a restart would read
    Summary(ListArgs),
    /// The segments, oldest first, and what they are kept for
    Segments(ListArgs),
    /// The events that wait, in the order in which they will be taken
    Events(EventArgs),
    /// The frames of the log
    Frames(FrameArgs),
    /// The committed puts and takes; one frame each
    Transactions(TransactionArgs),
    /// The checkpoints and images that a restart tries, and the state now
    Checkpoint(CheckpointArgs),
    /// Check everything, and list what is damaged and what is at stake
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    channel: ChannelArgs,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
struct FormArgs {
    /// Form of the output: a table on a terminal, plain if it goes to a pipe
    #[arg(short, long, value_enum)]
    output: Option<ListForm>,
}

impl FormArgs {
    fn form(&self) -> Form {
        match self.output {
            Some(ListForm::Json) => Form::Json,
            Some(ListForm::Table) => Form::Table,
            Some(ListForm::Plain) => Form::Plain,
            None => terminal_form(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListForm {
    /// For people
    Table,
    /// Columns with tabs between
    Plain,
    /// For programs
    Json,
}

fn terminal_form() -> Form {
    if io::stdout().is_terminal() { Form::Table } else { Form::Plain }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StreamForm {
    Table,
    Jsonl,
}

#[derive(Debug, Args)]
struct SelectArgs {
    #[command(flatten)]
    channel: ChannelArgs,
    /// First to show: oldest, newest, checkpoint, seg-N@OFFSET, lsn:N, seq:N
    #[arg(long, value_name = "POS", default_value = "oldest")]
    from: Position,
    /// Last to show
    #[arg(long, value_name = "POS", default_value = "newest")]
    to: Position,
    /// Show at most so many
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    /// Leave out the first so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
    /// Print how many there are, and none of them
    #[arg(long)]
    count: bool,
    /// Exit with 3 if there are none
    #[arg(long)]
    fail_if_empty: bool,
    /// Form of the output; columns with tabs between if it goes to a pipe
    #[arg(short, long, value_enum, default_value_t = StreamForm::Table)]
    output: StreamForm,
}

#[derive(Debug, Args)]
struct EventArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Which events: those that are owed, or taken ones too as far as they are kept
    #[arg(long, value_enum, default_value_t = StateArg::Pending)]
    state: StateArg,
    /// Only events whose header is so: K=V, K~REGEX, K (is there), !K (is not). All of several must hold
    #[arg(long, value_name = "CONDITION")]
    header: Vec<String>,
    /// Only events whose body matches
    #[arg(long, value_name = "REGEX", conflicts_with = "fixed")]
    grep: Option<String>,
    /// Only events whose body holds this
    #[arg(long, value_name = "TEXT")]
    fixed: Option<String>,
    /// How bodies are shown
    #[arg(long, value_enum, default_value_t = BodyForm::Auto)]
    body: BodyForm,
    /// Bytes shown of a body; a table shows 200, JSON all
    #[arg(long, value_name = "BYTES")]
    max_body: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateArg {
    Pending,
    Any,
}

#[derive(Debug, Args)]
struct FrameArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Kinds to show, with commas between: put, take, image, vouch, release, or kind-N of a bare log
    #[arg(long = "type", value_name = "KINDS", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Show bodies as hexadecimal digits
    #[arg(long)]
    hex: bool,
    /// Bytes shown of a body with --hex; a table shows 4096, JSON all
    #[arg(long, value_name = "BYTES")]
    max_body: Option<usize>,
}

#[derive(Debug, Args)]
struct TransactionArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Kinds to show: put, take
    #[arg(long = "type", value_name = "KINDS", value_delimiter = ',')]
    kinds: Vec<String>,
}

#[derive(Debug, Args)]
struct CheckpointArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Show the state after this frame instead of the one now
    #[arg(long, value_name = "LSN")]
    at: Option<u64>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Any one of a channel's directories, or AGENT.CHANNEL with --conf; several are checked one after the other
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// Configuration file in which AGENT.CHANNEL is looked up
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    #[command(flatten)]
    form: FormArgs,
    /// Only what a restart would read
    #[arg(long, conflicts_with = "deep")]
    quick: bool,
    /// Every frame, and the checkpoints against the replay (the default)
    #[arg(long)]
    deep: bool,
    /// Findings to list; the others are counted
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_findings: usize,
    /// Write what was found to a file too: an object a line, as -o json prints it
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print nothing: how the command ends says it
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb and says how it ended.
pub(super) fn run(args: &InspectArgs, registry: &Registry) -> Exit {
    let exit = match &args.verb {
        Verb::Summary(list) => show_list(list, registry, inspect::summary),
        Verb::Segments(list) => show_list(list, registry, inspect::segments),
        Verb::Checkpoint(args) => show_list(&args.list, registry, |inspector, out| {
            inspect::checkpoints(inspector, args.at.map(fchannel::Lsn::new), out)
        }),
        Verb::Verify(args) => verify(args, registry),
        Verb::Events(args) => events(args, registry),
        Verb::Frames(args) => {
            let options = frame_options(&args.select, &args.kinds, args.hex, args.max_body);
            show_stream(&args.select, registry, |inspector, out| {
                inspect::frames(inspector, &options, out)
            })
        }
        Verb::Transactions(args) => {
            let options = frame_options(&args.select, &args.kinds, false, None);
            show_stream(&args.select, registry, |inspector, out| {
                inspect::transactions(inspector, &options, out)
            })
        }
    };
    exit.unwrap_or_else(|exit| exit)
}

/// Checks one channel after the other. One that could not be checked matters more than findings in another.
fn verify(args: &VerifyArgs, registry: &Registry) -> Result<Exit, Exit> {
    let depth = Verify { deep: !args.quick, findings_max: args.max_findings };
    let several = args.channels.len() > 1;
    let mut reports = String::new();
    let stdout = io::stdout();
    let color = output::wants_color(&stdout);
    let mut out = Out::new(BufWriter::new(stdout.lock()), args.form.form(), color);
    let (mut unchecked, mut damage) = (None, false);
    for channel in &args.channels {
        let checked = resolve(channel, args.conf.as_deref(), registry).and_then(|dir| {
            let inspector = Inspector::open(&dir).map_err(|error| fail(&error))?;
            let options = VerifyOptions { depth, several, quiet: args.quiet, channel };
            inspect::verify(&inspector, &options, &mut out).map_err(|error| fail(&error))
        });
        match checked {
            Ok((seen, report)) => {
                damage |= seen.damage;
                reports.push_str(&format!("{report}\n"));
            }
            Err(exit) => unchecked = unchecked.or(Some(exit)),
        }
    }
    written(out.finish())?;
    if let Some(path) = &args.report {
        let made = File::create(path).and_then(|mut file| file.write_all(reports.as_bytes()));
        made.map_err(|error| {
            output::complain(&format!("cannot write {}: {error}", path.display()));
            Exit::Failed
        })?;
    }
    Ok(unchecked.unwrap_or(if damage { Exit::Findings } else { Exit::Done }))
}

fn written(answer: io::Result<()>) -> Result<(), Exit> {
    answer.map_err(|error| {
        output::complain(&format!("cannot write to standard output: {error}"));
        Exit::Failed
    })
}

fn events(args: &EventArgs, registry: &Registry) -> Result<Exit, Exit> {
    let filter =
        Filter::new(&args.header, args.grep.as_deref(), args.fixed.as_deref()).map_err(|what| {
            output::complain(&what);
            Exit::Usage
        })?;
    let options = EventOptions {
        select: select(&args.select),
        which: match args.state {
            StateArg::Pending => Which::Pending,
            StateArg::Any => Which::Any,
        },
        filter,
        body: args.body,
        body_bytes_max: args.max_body,
    };
    show_stream(&args.select, registry, |inspector, out| inspect::events(inspector, &options, out))
}

fn select(args: &SelectArgs) -> Select {
    Select { from: args.from, to: args.to, limit: args.limit, skip: args.skip, count: args.count }
}

fn frame_options(
    args: &SelectArgs,
    kinds: &[String],
    hex: bool,
    body_bytes_max: Option<usize>,
) -> FrameOptions {
    FrameOptions { select: select(args), kinds: kinds.to_vec(), hex, body_bytes_max }
}

type Stdout = BufWriter<io::StdoutLock<'static>>;

fn show_list(
    args: &ListArgs,
    registry: &Registry,
    show: impl FnOnce(&Inspector, &mut Out<Stdout>) -> fchannel::Result<Seen>,
) -> Result<Exit, Exit> {
    run_on(&args.channel, registry, args.form.form(), show).map(|(_, exit)| exit)
}

fn show_stream(
    args: &SelectArgs,
    registry: &Registry,
    show: impl FnOnce(&Inspector, &mut Out<Stdout>) -> fchannel::Result<Seen>,
) -> Result<Exit, Exit> {
    let form = match args.output {
        StreamForm::Jsonl => Form::Json,
        StreamForm::Table => terminal_form(),
    };
    let (seen, exit) = run_on(&args.channel, registry, form, show)?;
    let is_empty = seen.rows <= args.skip;
    Ok(if exit == Exit::Done && is_empty && args.fail_if_empty { Exit::Findings } else { exit })
}

/// Opens the channel, shows something of it on standard output, and says how that ended.
fn run_on(
    args: &ChannelArgs,
    registry: &Registry,
    form: Form,
    show: impl FnOnce(&Inspector, &mut Out<Stdout>) -> fchannel::Result<Seen>,
) -> Result<(Seen, Exit), Exit> {
    let dir = args.resolve(registry)?;
    let inspector = Inspector::open(dir).map_err(|error| fail(&error))?;
    let stdout = io::stdout();
    let color = output::wants_color(&stdout);
    let mut out = Out::new(BufWriter::new(stdout.lock()), form, color);
    let shown = show(&inspector, &mut out);
    let finished = out.finish();
    let seen = shown.map_err(|error| fail(&error))?;
    written(finished)?;
    Ok((seen, if seen.damage { Exit::Findings } else { Exit::Done }))
}
