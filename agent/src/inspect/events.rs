//! `inspect events`.

use super::{
    Seen,
    out::{Column, Form, Out, Side, Table},
    progress::Progress,
    select::{BodyForm, Filter, Select, Turn, after},
    text::{self, escaped},
};
use fchannel::{Event, EventInfo, EventRow, Hole, Inspector, Result, Which};
use serde_json::{Map, Value, json};
use std::{
    io::Write,
    ops::ControlFlow::{self, Continue},
};

const COLUMNS: &[Column] = &[
    ("POS", 18, Side::Left),
    ("SEQ", 10, Side::Right),
    ("TIME", 24, Side::Left),
    ("SIZE", 6, Side::Right),
    ("STATE", 7, Side::Left),
    ("HEADERS", 20, Side::Left),
    ("BODY", 0, Side::Left),
];
/// What a table shows of a body unless told otherwise.
const BODY_BYTES_MAX: usize = 200;

/// The options of `inspect events`.
#[derive(Clone, Debug)]
pub(crate) struct EventOptions {
    pub(crate) select: Select,
    pub(crate) which: Which,
    pub(crate) filter: Filter,
    pub(crate) body: BodyForm,
    pub(crate) body_bytes_max: Option<usize>,
}

/// Shows events.
///
/// # Errors
/// As [`Inspector::events`].
pub(crate) fn events<W: Write>(
    inspector: &Inspector,
    options: &EventOptions,
    out: &mut Out<W>,
) -> Result<Seen> {
    let select = options.select;
    let shows_table = out.form != Form::Json && !select.count;
    let table = shows_table.then(|| Table::begin(out, COLUMNS));
    let mut events =
        Events { options, table, out, seen: Seen::default(), lost: 0, next: None, more: false };
    let mut progress = Progress::new("events");
    let end = inspector.horizon().0.get();
    let mut first = None;
    inspector.events(options.which, select.from, select.to, |row| {
        if let EventRow::Event(info) = &row {
            let first = *first.get_or_insert(info.lsn.get());
            progress.tell(info.lsn.get() - first, end.saturating_sub(first));
        }
        match row {
            EventRow::Event(info) => events.event(info),
            EventRow::Hole(hole, owed) => events.hole(&hole, owed),
            _ => Continue(()),
        }
    })?;
    drop(progress);
    events.end(inspector);
    Ok(events.seen)
}

struct Events<'a, W: Write> {
    options: &'a EventOptions,
    /// `None` in JSON, and where rows are only counted.
    table: Option<Table>,
    out: &'a mut Out<W>,
    seen: Seen,
    /// Owed events that cannot be read.
    lost: u64,
    /// Behind the last event that was looked at.
    next: Option<u64>,
    /// The limit was reached and there is more.
    more: bool,
}

impl<W: Write> Events<'_, W> {
    fn event(&mut self, info: EventInfo) -> ControlFlow<()> {
        let (event, is_raw) = match Event::decode(info.payload.clone()) {
            Ok(event) => (event, false),
            Err(_) => (Event::of_body(info.payload.clone()), true),
        };
        if !self.options.filter.matches(&event) {
            self.next = Some(info.seq.next().get());
            return Continue(());
        }
        let turn = self.options.select.turn(self.seen.rows);
        self.more = turn == Turn::Enough;
        if self.more {
            // The first one that is not shown, also when none was.
            self.next = Some(info.seq.get());
        } else {
            self.seen.rows += 1;
            self.next = Some(info.seq.next().get());
        }
        match turn {
            Turn::Show => self.show(&info, &event, is_raw),
            turn => after(turn),
        }
    }

    fn show(&mut self, info: &EventInfo, event: &Event, is_raw: bool) -> ControlFlow<()> {
        let Some(table) = &self.table else {
            let row = self.json_row(info, event, is_raw);
            return self.out.json(&row);
        };
        let (time_ms, _) = time_of(info, event);
        let headers: Vec<String> = event
            .headers
            .iter()
            .map(|(key, value)| format!("{}={}", escaped(key), escaped(value)))
            .collect();
        let bytes_max = self.options.body_bytes_max.unwrap_or(BODY_BYTES_MAX);
        let cells = [
            info.ptr.to_string(),
            info.seq.to_string(),
            text::time(time_ms),
            event.body.len().to_string(),
            state(info).to_owned(),
            if is_raw { "(not an event)".to_owned() } else { headers.join(" ") },
            self.options.body.cell(&event.body, bytes_max),
        ];
        table.row(self.out, &cells)
    }

    fn json_row(&self, info: &EventInfo, event: &Event, is_raw: bool) -> Value {
        let (time_ms, source) = time_of(info, event);
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
        put("schema", "fchannel.event/1".into());
        put("pos", info.ptr.to_string().into());
        put("seq", info.seq.to_string().into());
        put("tx", info.lsn.to_string().into());
        put("state", state(info).into());
        put("time", text::timestamp(time_ms).into());
        put("time_source", source.into());
        put("committed", text::timestamp(info.committed_ms).into());
        put("size", event.body.len().into());
        if is_raw {
            put("raw", true.into());
        }
        let headers: Map<String, Value> =
            event.headers.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        put("headers", headers.into());
        self.options.body.put(&mut row, &event.body, self.options.body_bytes_max);
        row.into()
    }

    /// Damage is told where it lies, whatever the filter: nobody knows what was in it.
    fn hole(&mut self, hole: &Hole, owed: u64) -> ControlFlow<()> {
        self.seen.damage |= owed > 0;
        self.lost += owed;
        if self.options.select.count {
            return Continue(());
        }
        let Some(table) = &self.table else { return self.out.json(&hole_row(hole, Some(owed))) };
        let what = format!(
            "DAMAGED ({}): {} cannot be read",
            hole.verdict,
            text::counted(owed, "owed event")
        );
        let seqs = hole.events.map_or_else(|| "?".to_owned(), |(first, _)| first.to_string());
        let dash = || "-".to_owned();
        table.row(
            self.out,
            &[hole.at.to_string(), seqs, dash(), dash(), "damaged".to_owned(), dash(), what],
        )
    }

    fn end(&mut self, inspector: &Inspector) {
        let next = match (self.more, self.next) {
            (true, Some(next)) => next,
            _ => inspector.state().map_or(0, |state| state.next_seq.get()),
        };
        let cursor = format!("seq:{next}");
        let shown = self.seen.rows.saturating_sub(self.options.select.skip);
        end(self.out, &self.options.select, shown, self.more, &cursor);
        if self.lost > 0 {
            eprint_line(&format!(
                "damage: {} cannot be read; `fchannel inspect verify` says where",
                text::counted(self.lost, "owed event")
            ));
        }
    }
}

fn state(info: &EventInfo) -> &'static str {
    if info.owed { "pending" } else { "taken" }
}

/// The time of an event and where it comes from: never invented.
pub(super) fn time_of(info: &EventInfo, event: &Event) -> (u64, &'static str) {
    let header = event.headers.get("timestamp").and_then(|text| text.parse().ok());
    match header.filter(|ms| text::timestamp(*ms).is_some()) {
        Some(ms) => (ms, "header:timestamp"),
        None => (info.committed_ms, "commit"),
    }
}

/// Damage as a row.
pub(super) fn hole_row(hole: &Hole, owed: Option<u64>) -> Value {
    let mut row = json!({
        "schema": "fchannel.damage/1",
        "pos": hole.at.to_string(),
        "lsn": hole.lsns.0.to_string(),
        "lsn_end": hole.lsns.1.to_string(),
        "seq": hole.events.map(|(first, _)| first.to_string()),
        "seq_end": hole.events.map(|(_, end)| end.to_string()),
        "kind": hole.kind,
        "next_good": hole.next.map(|next| next.to_string()),
        "verdict": hole.verdict.to_string(),
        "what": hole.what,
    });
    if let (Some(owed), Some(row)) = (owed, row.as_object_mut()) {
        row.insert("owed".to_owned(), owed.into());
    }
    row
}

/// The end of a stream: a trailer for programs, the next page for people.
pub(super) fn end<W: Write>(
    out: &mut Out<W>,
    select: &Select,
    shown: u64,
    more: bool,
    cursor: &str,
) {
    if out.form == Form::Json {
        let trailer = json!({
            "schema": "fchannel.end/1", "complete": true, "rows": shown, "more": more, "cursor": cursor,
        });
        let _flow = out.json(&trailer);
    } else if select.count {
        let _flow = out.line(&shown.to_string());
    } else if more {
        eprint_line(&format!("{} shown; next page: --from {cursor}", text::count(shown)));
    }
}

/// One line to standard error; if that fails there is nobody to tell.
pub(super) fn eprint_line(line: &str) {
    if writeln!(std::io::stderr().lock(), "{line}").is_err() {}
}
