//! `fchannel quarantine`: what was set aside, and what can still be read in it.

use super::{
    out::{Column, Form, Out, Side, Table},
    repair::damage_row,
    select::BodyForm,
    text::{self, counted, escaped},
};
use fchannel::{BodyState, Event, Inspector, Quarantined, Result, SalvagedEvent, SalvagedFrame};
use serde_json::{Map, Value, json};
use std::{io::Write, ops::ControlFlow};

const COLUMNS: &[Column] = &[
    ("ID", 4, Side::Right),
    ("STATE", 7, Side::Left),
    ("FOUND", 24, Side::Left),
    ("VERDICT", 7, Side::Left),
    ("POS", 18, Side::Left),
    ("LSNS", 12, Side::Left),
    ("EVENTS", 12, Side::Left),
    ("BYTES", 8, Side::Right),
    ("WHAT", 0, Side::Left),
];
const FRAME_COLUMNS: &[Column] = &[
    ("OFFSET", 10, Side::Right),
    ("LSN", 10, Side::Right),
    ("KIND", 6, Side::Left),
    ("ITEMS", 6, Side::Right),
    ("SEQ", 10, Side::Right),
    ("TIME", 24, Side::Left),
    ("HEADER", 7, Side::Left),
    ("BODY", 0, Side::Left),
];
const EVENT_COLUMNS: &[Column] = &[
    ("SEQ", 10, Side::Right),
    ("LOST", 4, Side::Left),
    ("CHECKSUM", 8, Side::Left),
    ("HEADERS", 20, Side::Left),
    ("BODY", 0, Side::Left),
];
const BODY_BYTES_MAX: usize = 200;
const NO_CHECKSUM: &str = "an event has no checksum of its own: where that of a frame is wrong, any of its events may be the damaged one";

/// All damage, settled too.
pub(crate) fn list_quarantine<W: Write>(inspector: &Inspector, out: &mut Out<W>) {
    let pending = inspector.quarantined().iter().map(|damage| (damage, "pending"));
    let rows = pending.chain(inspector.settled().iter().map(|damage| (damage, "settled")));
    if out.form == Form::Json {
        let rows = rows.map(|(damage, state)| {
            let mut row = damage_row(damage);
            row.insert("state".to_owned(), state.into());
            Value::from(row)
        });
        let list = json!({
            "schema": "fchannel.quarantine/1",
            "channel": inspector.directories().0.to_string_lossy(),
            "rows": rows.collect::<Vec<_>>(),
        });
        let _flow = out.json(&list);
        return;
    }
    let table = Table::begin(out, COLUMNS);
    for (damage, state) in rows {
        let cells = [
            damage.id.to_string(),
            state.to_owned(),
            text::time(damage.found_ms),
            damage.verdict.to_string(),
            damage.at.to_string(),
            range(damage.lsns.0.get(), damage.lsns.1.get()),
            range(damage.events.0.get(), damage.events.1.get()),
            damage.bytes.to_string(),
            escaped(&damage.what).into_owned(),
        ];
        if table.row(out, &cells).is_break() {
            return;
        }
    }
}

/// `17-18` for what ends before 19; `-` for nothing.
fn range(first: u64, end: u64) -> String {
    match end.saturating_sub(first) {
        0 => "-".to_owned(),
        1 => first.to_string(),
        _ => format!("{first}-{}", end - 1),
    }
}

/// One damage: its record, the frames in its bytes, and their events.
///
/// # Errors
/// As [`Inspector::salvage`].
pub(crate) fn show_damage<W: Write>(
    inspector: &Inspector,
    damage: &Quarantined,
    out: &mut Out<W>,
) -> Result<()> {
    let frames = inspector.salvage(damage)?;
    let _flow = match out.form {
        Form::Json => out.json(&json(damage, &frames)),
        Form::Table | Form::Plain => page(damage, &frames, out),
    };
    Ok(())
}

fn page<W: Write>(
    damage: &Quarantined,
    frames: &[SalvagedFrame],
    out: &mut Out<W>,
) -> ControlFlow<()> {
    let file = text::escaped_bytes(damage.file.as_os_str().as_encoded_bytes());
    let next = damage.next.map_or_else(|| "the end of the log".to_owned(), |next| next.to_string());
    let lines = [
        ("damage", damage.id.to_string()),
        ("found", text::time(damage.found_ms)),
        ("what", escaped(&damage.what).into_owned()),
        ("verdict", format!("{}: {}", damage.verdict, damage.verdict.row().truth)),
        ("place", format!("{} in {file}", damage.at)),
        ("goes on at", next),
        ("lsns", range(damage.lsns.0.get(), damage.lsns.1.get())),
        ("events", range(damage.events.0.get(), damage.events.1.get())),
        ("raw bytes", damage.bytes.to_string()),
    ];
    for (label, value) in lines {
        out.line(&format!("{label:<11}{value}"))?;
    }
    out.line("")?;
    let table = Table::begin(out, FRAME_COLUMNS);
    for frame in frames {
        table.row(out, &frame_cells(frame))?;
    }
    let events: Vec<&SalvagedEvent> = frames.iter().flat_map(|frame| &frame.events).collect();
    out.line("")?;
    if events.is_empty() {
        return out.line("no event can be read in these bytes");
    }
    let table = Table::begin(out, EVENT_COLUMNS);
    for event in &events {
        table.row(out, &event_cells(event))?;
    }
    out.line("")?;
    if events.iter().any(|event| !event.verified) {
        out.line(&format!("note: {NO_CHECKSUM}"))?;
    }
    let lost = events.iter().filter(|event| event.lost).count() as u64;
    out.line(&format!("{} that the channel lost can be put back", counted(lost, "event")))
}

fn frame_cells(frame: &SalvagedFrame) -> [String; 8] {
    let body = if frame.own { body_word(frame.body) } else { "of an older file: not read" };
    [
        frame.offset.to_string(),
        frame.lsn.to_string(),
        frame.kind(),
        frame.items.to_string(),
        frame.first.to_string(),
        text::time(frame.time_ms),
        if frame.header_sound { "sound" } else { "WRONG" }.to_owned(),
        format!("{body}, {}", counted(u64::from(frame.body_len), "byte")),
    ]
}

fn body_word(state: BodyState) -> &'static str {
    match state {
        BodyState::Sound => "checksum right",
        BodyState::Damaged => "CHECKSUM WRONG",
        BodyState::Cut => "CUT OFF",
        BodyState::NotRead => "not read",
    }
}

/// The event of a payload; what is none is a body.
fn decode(event: &SalvagedEvent) -> (Event, bool) {
    match Event::decode(event.payload.clone()) {
        Ok(decoded) => (decoded, true),
        Err(_) => (Event::of_body(event.payload.clone()), false),
    }
}

fn event_cells(event: &SalvagedEvent) -> [String; 5] {
    let (decoded, is_event) = decode(event);
    let headers: Vec<String> = decoded
        .headers
        .iter()
        .map(|(key, value)| format!("{}={}", escaped(key), escaped(value)))
        .collect();
    [
        event.seq.to_string(),
        if event.lost { "yes" } else { "no" }.to_owned(),
        if event.verified { "right" } else { "WRONG" }.to_owned(),
        if is_event { headers.join(" ") } else { "(not an event)".to_owned() },
        BodyForm::Auto.cell(&decoded.body, BODY_BYTES_MAX),
    ]
}

fn json(damage: &Quarantined, frames: &[SalvagedFrame]) -> Value {
    let rows = frames.iter().map(|frame| {
        json!({
            "offset": frame.offset,
            "own": frame.own,
            "lsn": frame.lsn.to_string(),
            "kind": frame.kind(),
            "items": frame.items,
            "seq": frame.first.to_string(),
            "time": text::timestamp(frame.time_ms),
            "header_sound": frame.header_sound,
            "body": match frame.body {
                BodyState::Sound => "sound",
                BodyState::Damaged => "damaged",
                BodyState::Cut => "cut",
                BodyState::NotRead => "not_read",
            },
            "body_len": frame.body_len,
            "events": frame.events.iter().map(event_row).collect::<Vec<_>>(),
        })
    });
    let mut object = damage_row(damage);
    object.insert("schema".to_owned(), "fchannel.quarantined/1".into());
    object.insert("frames".to_owned(), rows.collect());
    object.insert("note".to_owned(), NO_CHECKSUM.into());
    object.into()
}

fn event_row(event: &SalvagedEvent) -> Value {
    let (decoded, is_event) = decode(event);
    let mut row = Map::new();
    row.insert("schema".to_owned(), "fchannel.salvaged/1".into());
    row.insert("seq".to_owned(), event.seq.to_string().into());
    row.insert("lost".to_owned(), event.lost.into());
    row.insert("verified".to_owned(), event.verified.into());
    if !is_event {
        row.insert("raw".to_owned(), true.into());
    }
    let headers: Map<String, Value> =
        decoded.headers.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    row.insert("headers".to_owned(), headers.into());
    BodyForm::Auto.put(&mut row, &decoded.body, None);
    row.into()
}

/// The events of a damage, an object a line, and a trailer by which a cut file is told from a whole one.
///
/// # Errors
/// As [`Inspector::salvage`].
pub(crate) fn damage_events<W: Write>(
    inspector: &Inspector,
    damage: &Quarantined,
    out: &mut Out<W>,
) -> Result<()> {
    let frames = inspector.salvage(damage)?;
    let mut rows = 0u64;
    for event in frames.iter().flat_map(|frame| &frame.events) {
        if out.json(&event_row(event)).is_break() {
            return Ok(());
        }
        rows += 1;
    }
    let _flow = out.json(&json!({ "schema": "fchannel.end/1", "complete": true, "rows": rows }));
    Ok(())
}
