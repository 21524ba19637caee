//! `fchannel quarantine`: damage that was set aside, until somebody has settled it.

use super::{
    Exit,
    channel::{ChannelArgs, fail},
    output,
};
use crate::{
    inspect::{Form, Out, damage_events, list_quarantine, show_damage},
    registry::Registry,
};
use clap::{Args, Subcommand, ValueEnum};
use fchannel::{
    Channel, Error, Event, Inspector, OnDamage, Options, PutError, Quarantined, SalvagedEvent,
    repair,
};
use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

const EXITS: &str = "\
A damage stays here, and each start of an agent tells of it, until it is settled: by `requeue`, which puts the events that can be read back
into the channel, or by `drop`. Both print a plan, and do it with --apply. Settled, ID.damage becomes ID.settled; ID.bytes stays until
somebody removes it by hand.

An event that is put back gets the header fchannel.quarantine=ID, and fchannel.salvage=unverified if the checksum of its frame is wrong:
an event has no checksum of its own. Some may have been delivered before the damage: they come again.

Exit codes:
   0  done
   1  a file cannot be read or written, or there is no such damage
   3  a plan: add --apply
   4  put back, but not all that was lost could be read
   5  the channel is locked by a live process
   6  not a channel, or of a newer format";

/// What one transaction puts back at most.
const EVENTS_MAX: usize = 1000;
const BYTES_MAX: usize = 16 << 20;

/// The arguments of `fchannel quarantine`.
#[derive(Debug, Args)]
#[command(after_help = EXITS)]
pub struct QuarantineArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All damage, settled too
    List(ListArgs),
    /// One damage: its record, the frames in its bytes, and their events
    Show(ShowArgs),
    /// Write its bytes, or the events in them, to a file
    Export(ExportArgs),
    /// Put the events that can be read back into the channel, and settle the damage
    Requeue(SettleArgs),
    /// Settle the damage without putting anything back
    Drop(SettleArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    channel: ChannelArgs,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
struct OneArgs {
    #[command(flatten)]
    channel: ChannelArgs,
    /// Number of the damage
    id: u64,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    one: OneArgs,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    one: OneArgs,
    /// A file that is not there yet, or - for standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// What to write
    #[arg(long = "as", value_enum, default_value_t = ExportForm::Raw)]
    form: ExportForm,
}

#[derive(Debug, Args)]
struct SettleArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Carry the plan out
    #[arg(long)]
    apply: bool,
}

#[derive(Debug, Args)]
struct FormArgs {
    /// Form of the output: a table on a terminal, columns with tabs between if it goes to a pipe
    #[arg(short, long, value_enum)]
    output: Option<ListForm>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ListForm {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportForm {
    /// The bytes as they lay in the log
    Raw,
    /// The events, an object a line
    Jsonl,
}

pub(super) fn run(args: &QuarantineArgs, registry: &Registry) -> Exit {
    let exit = match &args.verb {
        Verb::List(args) => list(args, registry),
        Verb::Show(args) => show(args, registry),
        Verb::Export(args) => export(args, registry),
        Verb::Requeue(args) => requeue(args, registry),
        Verb::Drop(args) => settle(args, registry),
    };
    exit.unwrap_or_else(|exit| exit)
}

fn list(args: &ListArgs, registry: &Registry) -> Result<Exit, Exit> {
    let inspector = open(&args.channel.resolve(registry)?)?;
    printed(&args.form, |out| {
        list_quarantine(&inspector, out);
        Ok(())
    })
}

fn show(args: &ShowArgs, registry: &Registry) -> Result<Exit, Exit> {
    let (_, inspector, damage) = find(&args.one, registry)?;
    printed(&args.form, |out| show_damage(&inspector, &damage, out))
}

fn open(dir: &Path) -> Result<Inspector, Exit> {
    Inspector::open(dir).map_err(|error| fail(&error))
}

/// The damage with this number, settled or not.
fn find(args: &OneArgs, registry: &Registry) -> Result<(PathBuf, Inspector, Quarantined), Exit> {
    let dir = args.channel.resolve(registry)?;
    let inspector = open(&dir)?;
    let mut all = inspector.quarantined().iter().chain(inspector.settled());
    match all.find(|damage| damage.id == args.id).cloned() {
        Some(damage) => Ok((dir, inspector, damage)),
        None => {
            let known = inspector.quarantined().len() + inspector.settled().len();
            output::complain(&format!(
                "there is no damage {} in {}, but {known} others: fchannel quarantine list",
                args.id,
                output::path(&dir)
            ));
            Err(Exit::Failed)
        }
    }
}

fn printed(
    form: &FormArgs,
    show: impl FnOnce(&mut Out<BufWriter<io::StdoutLock<'static>>>) -> fchannel::Result<()>,
) -> Result<Exit, Exit> {
    let stdout = io::stdout();
    let form = match form.output {
        Some(ListForm::Json) => Form::Json,
        Some(ListForm::Table) => Form::Table,
        None if stdout.is_terminal() => Form::Table,
        None => Form::Plain,
    };
    let mut out = Out::new(BufWriter::new(stdout.lock()), form, output::wants_color(&io::stdout()));
    show(&mut out).map_err(|error| fail(&error))?;
    out.finish().map(|()| Exit::Done).map_err(|error| cannot_write("standard output", &error))
}

fn cannot_write(what: &str, error: &io::Error) -> Exit {
    output::complain(&format!("cannot write to {what}: {error}"));
    Exit::Failed
}

fn export(args: &ExportArgs, registry: &Registry) -> Result<Exit, Exit> {
    let (_, inspector, damage) = find(&args.one, registry)?;
    let name = output::path(&args.to);
    let to: Box<dyn Write> = if args.to == Path::new("-") {
        Box::new(io::stdout().lock())
    } else {
        Box::new(File::create_new(&args.to).map_err(|error| cannot_write(&name, &error))?)
    };
    let mut to = BufWriter::new(to);
    match args.form {
        ExportForm::Raw => {
            let bytes = inspector.quarantined_bytes(&damage).map_err(|error| fail(&error))?;
            to.write_all(&bytes).and_then(|()| to.flush())
        }
        ExportForm::Jsonl => {
            let mut out = Out::new(to, Form::Json, false);
            damage_events(&inspector, &damage, &mut out).map_err(|error| fail(&error))?;
            out.finish()
        }
    }
    .map(|()| Exit::Done)
    .map_err(|error| cannot_write(&name, &error))
}

fn requeue(args: &SettleArgs, registry: &Registry) -> Result<Exit, Exit> {
    let (_, inspector, damage) = find(&args.one, registry)?;
    if inspector.settled().iter().any(|settled| settled.id == damage.id) {
        let text = format!("damage {} is settled already\n", damage.id);
        return Ok(output::finish(&text, Exit::Done));
    }
    let frames = inspector.salvage(&damage).map_err(|error| fail(&error))?;
    let events: Vec<&SalvagedEvent> =
        frames.iter().flat_map(|frame| &frame.events).filter(|event| event.lost).collect();
    let lost = damage.events.1.get().saturating_sub(damage.events.0.get());
    let unread = lost.saturating_sub(events.len() as u64);
    let unverified = events.iter().filter(|event| !event.verified).count();
    let what = format!(
        "damage {}: {lost} events lost; {} can be put back, {unverified} of them with a wrong checksum; {unread} cannot be read\n",
        damage.id,
        events.len()
    );
    if !args.apply {
        let text = format!("{what}nothing was changed; add --apply to carry this out\n");
        return Ok(output::finish(&text, Exit::Findings));
    }
    if events.is_empty() {
        let text =
            format!("{what}nothing to put back: settle it with `fchannel quarantine drop`\n");
        return Ok(output::finish(&text, if unread > 0 { Exit::Partial } else { Exit::Done }));
    }
    let (home, data) = inspector.directories_to_change().map_err(|error| fail(&error))?;
    let data_dirs = if data == [home.to_path_buf()] { Vec::new() } else { data.to_vec() };
    let options = Options {
        data_dirs,
        // Limits are the agent's: what was accepted once shall fit again.
        capacity_events: u64::MAX,
        transaction_bytes_max: 1 << 30,
        free_space_min_bytes: 0,
        // Known damage keeps nobody out; new damage is for `repair` to look at first.
        on_damage: OnDamage::Refuse,
        ..Options::default()
    };
    let channel = Channel::open(home, options).map_err(|error| fail(&error))?;
    let is_put_back = put_back(&channel, &damage, &events).map_err(|error| fail(&error))?;
    channel.close().map_err(|error| fail(&error))?;
    if !is_put_back {
        let text = format!("damage {} was settled meanwhile: nothing was put back\n", damage.id);
        return Ok(output::finish(&text, Exit::Done));
    }
    let text = format!("{what}{} events put back, damage {} settled\n", events.len(), damage.id);
    Ok(output::finish(&text, if unread > 0 { Exit::Partial } else { Exit::Done }))
}

/// Puts the events, and settles the damage. A mark of the channel, committed with each transaction, says how many are in: so that a second
/// try after a crash goes on where the first one ended. False if somebody else has settled it by now: who plans holds no lock.
fn put_back(
    channel: &Channel,
    damage: &Quarantined,
    events: &[&SalvagedEvent],
) -> fchannel::Result<bool> {
    let is_it =
        |pending: &Quarantined| (pending.id, pending.found_ms) == (damage.id, damage.found_ms);
    if !channel.quarantined().iter().any(is_it) {
        return Ok(false);
    }
    // With the time, in case that somebody removes records by hand and their numbers come again.
    let mark = format!("fchannel.quarantine.{}.{}", damage.id, damage.found_ms);
    let done = channel.mark(mark.as_bytes()).and_then(|bytes| {
        let text = std::str::from_utf8(&bytes).ok()?;
        text.parse::<usize>().ok()
    });
    let mut done = done.unwrap_or(0).min(events.len());
    while let Some(rest) = events.get(done..).filter(|rest| !rest.is_empty()) {
        let mut put = channel.begin_put();
        let (mut count, mut bytes) = (0, 0);
        for event in rest {
            if count == EVENTS_MAX || (count > 0 && bytes + event.payload.len() > BYTES_MAX) {
                break;
            }
            let event = marked(event, damage.id);
            put.push_with(|buffer| event.encode_into(buffer))?;
            (count, bytes) = (count + 1, bytes + event.encoded_len());
        }
        done += count;
        put.set_mark(mark.as_bytes(), done.to_string().as_bytes())?;
        committed(put.commit())?;
    }
    channel.settle(damage.id)?;
    let mut put = channel.begin_put();
    put.set_mark(mark.as_bytes(), b"")?;
    committed(put.commit()).map(|()| true)
}

fn committed(answer: Result<fchannel::Committed, PutError>) -> fchannel::Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(PutError::Commit(error)) => Err(error.error().clone()),
        Err(other) => Err(Error::new(fchannel::ErrorKind::Full, other.to_string())),
    }
}

/// The event with the headers that say where it was. A payload that is none becomes a body, as for a sink.
fn marked(event: &SalvagedEvent, id: u64) -> Event {
    let mut marked = Event::decode(event.payload.clone())
        .unwrap_or_else(|_| Event::of_body(event.payload.clone()));
    marked.headers.insert("fchannel.quarantine", &id.to_string());
    if !event.verified {
        marked.headers.insert("fchannel.salvage", "unverified");
    }
    marked
}

fn settle(args: &SettleArgs, registry: &Registry) -> Result<Exit, Exit> {
    let (dir, inspector, damage) = find(&args.one, registry)?;
    if inspector.settled().iter().any(|settled| settled.id == damage.id) {
        let text = format!("damage {} is settled already\n", damage.id);
        return Ok(output::finish(&text, Exit::Done));
    }
    let lost = damage.events.1.get().saturating_sub(damage.events.0.get());
    if !args.apply {
        let text = format!(
            "damage {}: {lost} events stay lost; its record becomes {0}.settled, its bytes stay\n\
             nothing was changed; add --apply to carry this out\n",
            damage.id
        );
        return Ok(output::finish(&text, Exit::Findings));
    }
    drop(inspector);
    repair::settle(&dir, damage.id).map_err(|error| fail(&error))?;
    Ok(output::finish(&format!("damage {} settled\n", damage.id), Exit::Done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use fchannel::TakeLimit;

    fn open_channel(dir: &Path, on_damage: OnDamage) -> Channel {
        let options = Options { on_damage, free_space_min_bytes: 0, ..Options::default() };
        Channel::open(dir, options).unwrap()
    }

    /// A channel whose first event was set aside, and is not taken.
    fn with_a_damage(dir: &Path) -> Channel {
        let channel = open_channel(dir, OnDamage::Refuse);
        for body in ["lost event", "whole event"] {
            let mut put = channel.begin_put();
            let event = Event::of_body(Bytes::from_static(body.as_bytes()));
            put.push_with(|buffer| event.encode_into(buffer)).unwrap();
            put.commit().unwrap();
        }
        channel.close().unwrap();
        let segment = dir.join("seg-1");
        let mut bytes = std::fs::read(&segment).unwrap();
        let at = bytes.windows(10).position(|window| window == b"lost event").unwrap();
        bytes[at] ^= 1;
        std::fs::write(segment, bytes).unwrap();
        repair::repair(dir).unwrap();
        open_channel(dir, OnDamage::Refuse)
    }

    #[test]
    fn who_comes_second_puts_nothing_back_again() {
        let dir = tempfile::tempdir().unwrap();
        let channel = with_a_damage(dir.path());
        let inspector = Inspector::open(dir.path()).unwrap();
        let damage = &inspector.quarantined()[0];
        let frames = inspector.salvage(damage).unwrap();
        let events = frames.iter().flat_map(|frame| &frame.events);
        let events: Vec<&SalvagedEvent> = events.filter(|event| event.lost).collect();
        assert_eq!(events.len(), 1);
        assert!(put_back(&channel, damage, &events).unwrap());
        // Planned before the first one was done.
        assert!(!put_back(&channel, damage, &events).unwrap());
        let take = channel.begin_take(TakeLimit::events(9)).unwrap();
        assert_eq!(take.records().len(), 2);
        assert_eq!(channel.marks(), []);
    }
}
