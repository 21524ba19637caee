//! `inspect frames` and `inspect transactions`.

use super::{
    Seen,
    events::{end, hole_row},
    out::{Column, Form, Out, Side, Table},
    progress::Progress,
    select::{BodyForm, Select, Turn, after},
    text,
};
use fchannel::{EventSeq, FrameInfo, FrameRow, Hole, Inspector, Result};
use serde_json::{Map, Value};
use std::{
    io::Write,
    ops::ControlFlow::{self, Continue},
};

const FRAME_COLUMNS: &[Column] = &[
    ("POS", 18, Side::Left),
    ("LSN", 10, Side::Right),
    ("KIND", 7, Side::Left),
    ("EVENTS", 7, Side::Right),
    ("SEQ", 10, Side::Right),
    ("BYTES", 8, Side::Right),
    ("TIME", 24, Side::Left),
    ("VOUCHED", 7, Side::Left),
];
const TRANSACTION_COLUMNS: &[Column] = &[
    ("TX", 10, Side::Right),
    ("KIND", 4, Side::Left),
    ("EVENTS", 7, Side::Right),
    ("BYTES", 8, Side::Right),
    ("COMMITTED", 24, Side::Left),
    ("POS", 18, Side::Left),
    ("SEQS", 0, Side::Left),
];
/// Ranges of a take that a table shows; JSON has them all.
const RANGES_MAX: usize = 8;
const HEX_BYTES_MAX: usize = 4096;

/// The options of `inspect frames`.
#[derive(Clone, Debug)]
pub(crate) struct FrameOptions {
    pub(crate) select: Select,
    /// Kinds to show; empty: all.
    pub(crate) kinds: Vec<String>,
    /// Show bodies as hexadecimal digits.
    pub(crate) hex: bool,
    pub(crate) body_bytes_max: Option<usize>,
}

/// Shows frames.
///
/// # Errors
/// As [`Inspector::frames`].
pub(crate) fn frames<W: Write>(
    inspector: &Inspector,
    options: &FrameOptions,
    out: &mut Out<W>,
) -> Result<Seen> {
    Frames { options, is_transactions: false, out, seen: Seen::default(), next: 0, more: false }
        .run(inspector, FRAME_COLUMNS)
}

/// Shows puts and takes. A transaction is one frame, and its id is the frame's LSN: open ones exist in a running agent only.
///
/// # Errors
/// As [`Inspector::frames`].
pub(crate) fn transactions<W: Write>(
    inspector: &Inspector,
    options: &FrameOptions,
    out: &mut Out<W>,
) -> Result<Seen> {
    Frames { options, is_transactions: true, out, seen: Seen::default(), next: 0, more: false }
        .run(inspector, TRANSACTION_COLUMNS)
}

struct Frames<'a, W: Write> {
    options: &'a FrameOptions,
    is_transactions: bool,
    out: &'a mut Out<W>,
    seen: Seen,
    /// Behind the last frame that was looked at.
    next: u64,
    more: bool,
}

impl<W: Write> Frames<'_, W> {
    fn run(mut self, inspector: &Inspector, columns: &'static [Column]) -> Result<Seen> {
        let select = self.options.select;
        let shows_table = self.out.form != Form::Json && !select.count;
        let table = shows_table.then(|| Table::begin(self.out, columns));
        let mut progress = Progress::new("frames");
        let end_lsn = inspector.horizon().0.get();
        let mut first = None;
        inspector.frames(select.from, select.to, |row| match row {
            FrameRow::Frame(frame) => {
                let first = *first.get_or_insert(frame.lsn.get());
                progress.tell(frame.lsn.get() - first, end_lsn.saturating_sub(first));
                self.frame(&frame, table.as_ref())
            }
            FrameRow::Hole(hole) => self.hole(&hole, table.as_ref()),
            _ => Continue(()),
        })?;
        drop(progress);
        let next = if self.more { self.next } else { end_lsn + 1 };
        let shown = self.seen.rows.saturating_sub(select.skip);
        end(self.out, &select, shown, self.more, &format!("lsn:{next}"));
        Ok(self.seen)
    }

    fn wants(&self, kind: &str) -> bool {
        let is_transaction = matches!(kind, "put" | "take");
        let kinds = &self.options.kinds;
        (is_transaction || !self.is_transactions)
            && (kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind))
    }

    fn frame(&mut self, frame: &FrameInfo, table: Option<&Table>) -> ControlFlow<()> {
        let kind = frame.kind();
        if !self.wants(&kind) {
            return Continue(());
        }
        let turn = self.options.select.turn(self.seen.rows);
        if turn == Turn::Enough {
            self.more = true;
            self.next = frame.lsn.get();
            return after(turn);
        }
        self.seen.rows += 1;
        match (turn, table) {
            (Turn::Show, None) => {
                let row = self.json_row(frame, kind);
                self.out.json(&row)
            }
            (Turn::Show, Some(table)) if self.is_transactions => {
                table.row(self.out, &transaction_cells(frame, kind))
            }
            (Turn::Show, Some(table)) => {
                let flow = table.row(self.out, &frame_cells(frame, kind));
                if flow.is_continue() && self.options.hex { self.dump(frame) } else { flow }
            }
            _ => Continue(()),
        }
    }

    fn json_row(&self, frame: &FrameInfo, kind: String) -> Value {
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
        let schema =
            if self.is_transactions { "fchannel.transaction/1" } else { "fchannel.frame/1" };
        put("schema", schema.into());
        put("pos", frame.ptr.to_string().into());
        put(if self.is_transactions { "tx" } else { "lsn" }, frame.lsn.to_string().into());
        put("kind", kind.into());
        put("events", events_of(frame).into());
        if frame.events > 0 {
            put("seq", frame.first.to_string().into());
        }
        put("size", frame.bytes.into());
        put("time", text::timestamp(frame.time_ms).into());
        put("durable_lsn", frame.durable_lsn.to_string().into());
        put("vouched", frame.vouched.into());
        match frame.taken() {
            Ok(taken) if taken.is_empty() => {}
            Ok(taken) => {
                let pair = |(first, end): &(EventSeq, EventSeq)| {
                    Value::from(vec![first.to_string(), end.previous().to_string()])
                };
                put("taken", taken.iter().map(pair).collect());
            }
            Err(error) => put("unreadable", error.what().into()),
        }
        if self.options.hex {
            BodyForm::Hex.put(&mut row, &frame.body, self.options.body_bytes_max);
        }
        row.into()
    }

    /// Sixteen bytes a line: offset, digits, and what is printable.
    fn dump(&mut self, frame: &FrameInfo) -> ControlFlow<()> {
        let max = self.options.body_bytes_max.unwrap_or(HEX_BYTES_MAX).min(frame.body.len());
        for (line, bytes) in frame.body.get(..max).unwrap_or_default().chunks(16).enumerate() {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let letters: String =
                bytes
                    .iter()
                    .map(|byte| {
                        if byte.is_ascii_graphic() || *byte == b' ' {
                            char::from(*byte)
                        } else {
                            '.'
                        }
                    })
                    .collect();
            self.out.line(&format!(
                "  {:08x}  {:<47}  |{letters}|",
                line * 16,
                digits.join(" ")
            ))?;
        }
        if max < frame.body.len() {
            return self.out.line(&format!("  {} more bytes (--max-body)", frame.body.len() - max));
        }
        Continue(())
    }

    fn hole(&mut self, hole: &Hole, table: Option<&Table>) -> ControlFlow<()> {
        self.seen.damage = true;
        if self.options.select.count {
            return Continue(());
        }
        let Some(table) = table else { return self.out.json(&hole_row(hole, None)) };
        let seq = hole.events.map_or_else(|| "?".to_owned(), |(first, _)| first.to_string());
        let events = hole
            .events
            .map_or_else(|| "?".to_owned(), |(first, end)| (end.get() - first.get()).to_string());
        let bytes = hole.bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
        let (at, lsn) = (hole.at.to_string(), hole.lsns.0.to_string());
        let damaged = format!("DAMAGED ({})", hole.verdict);
        let cells = match self.is_transactions {
            true => vec![lsn, "?".to_owned(), events, bytes, damaged, at, seq],
            false => vec![
                at,
                lsn,
                hole.kind.clone().unwrap_or_else(|| "?".to_owned()),
                events,
                seq,
                bytes,
                damaged,
                "-".to_owned(),
            ],
        };
        table.row(self.out, &cells)
    }
}

/// Events put or taken.
fn events_of(frame: &FrameInfo) -> u64 {
    let taken = frame.taken().unwrap_or_default();
    taken.iter().map(|(first, end)| end.get() - first.get()).sum::<u64>() + u64::from(frame.events)
}

fn frame_cells(frame: &FrameInfo, kind: String) -> [String; 8] {
    [
        frame.ptr.to_string(),
        frame.lsn.to_string(),
        kind,
        events_of(frame).to_string(),
        frame.first.to_string(),
        frame.bytes.to_string(),
        text::time(frame.time_ms),
        if frame.vouched { "yes" } else { "no" }.to_owned(),
    ]
}

fn transaction_cells(frame: &FrameInfo, kind: String) -> [String; 7] {
    [
        frame.lsn.to_string(),
        kind,
        events_of(frame).to_string(),
        frame.bytes.to_string(),
        text::time(frame.time_ms),
        frame.ptr.to_string(),
        seqs(frame),
    ]
}

fn seqs(frame: &FrameInfo) -> String {
    let put = (frame.first, frame.first.plus(u64::from(frame.events)));
    let ranges = match frame.taken() {
        Ok(taken) if frame.events == 0 => taken,
        Ok(_) => vec![put],
        Err(error) => return error.what().to_owned(),
    };
    let mut shown: Vec<String> = ranges
        .iter()
        .take(RANGES_MAX)
        .map(|(first, end)| {
            if *end == first.next() {
                first.to_string()
            } else {
                format!("{first}-{}", end.previous())
            }
        })
        .collect();
    if ranges.len() > RANGES_MAX {
        shown.push(format!("and {} ranges more", ranges.len() - RANGES_MAX));
    }
    shown.join(",")
}
