//! `inspect segments` and `inspect checkpoint`.

use super::{
    Seen,
    out::{Column, Form, Out, Side, Table},
    text,
};
use fchannel::{CheckpointInfo, Inspector, Lsn, Result, SegmentInfo, StateInfo};
use serde_json::{Value, json};
use std::{io::Write, path::Path};

const SEGMENT_COLUMNS: &[Column] = &[
    ("FILE", 10, Side::Left),
    ("DIR", 24, Side::Left),
    ("SIZE", 11, Side::Right),
    ("FIRST LSN", 10, Side::Right),
    ("FIRST SEQ", 10, Side::Right),
    ("EVENTS", 10, Side::Right),
    ("OWED", 10, Side::Right),
    ("EPOCH", 5, Side::Right),
    ("KEPT FOR", 0, Side::Left),
];
const CHECKPOINT_COLUMNS: &[Column] = &[
    ("FROM", 14, Side::Left),
    ("LSN", 10, Side::Right),
    ("OWED", 10, Side::Right),
    ("HEAD", 10, Side::Right),
    ("NEXT SEQ", 10, Side::Right),
    ("GAPS", 5, Side::Right),
    ("MARKS", 5, Side::Right),
    ("REPLAY FROM", 18, Side::Left),
    ("STATUS", 0, Side::Left),
];

/// Shows the segments, oldest first.
///
/// # Errors
/// As [`Inspector::segments`].
pub(crate) fn segments<W: Write>(inspector: &Inspector, out: &mut Out<W>) -> Result<Seen> {
    let segments = inspector.segments()?;
    let seen = Seen { rows: segments.len() as u64, damage: false };
    if out.form == Form::Json {
        let rows: Vec<Value> = segments.iter().map(segment_row).collect();
        let _flow = out.json(&json!({ "schema": "fchannel.segments/1", "rows": rows }));
        return Ok(seen);
    }
    let table = Table::begin(out, SEGMENT_COLUMNS);
    for segment in &segments {
        let size = match out.form {
            Form::Table => text::size(segment.size_bytes),
            _ => segment.size_bytes.to_string(),
        };
        let cells = [
            file_name(&segment.path),
            segment.path.parent().map(path_text).unwrap_or_default(),
            size,
            segment.first_lsn.to_string(),
            segment.first_event.to_string(),
            segment.events.to_string(),
            segment.owed.to_string(),
            segment.epoch.to_string(),
            kept_for(segment).join(", "),
        ];
        if table.row(out, &cells).is_break() {
            break;
        }
    }
    Ok(seen)
}

/// Why the segment is not given back.
fn kept_for(segment: &SegmentInfo) -> Vec<&'static str> {
    let reasons = [
        (segment.newest, "writing"),
        (segment.owed > 0, "owed events"),
        (segment.behind_checkpoint, "restart"),
        (!segment.newest && segment.owed == 0 && !segment.behind_checkpoint, "an older segment"),
    ];
    reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason).collect()
}

fn segment_row(segment: &SegmentInfo) -> Value {
    json!({
        "id": segment.id.to_string(),
        "path": segment.path.to_string_lossy(),
        "size": segment.size_bytes,
        "first_lsn": segment.first_lsn.to_string(),
        "first_seq": segment.first_event.to_string(),
        "events": segment.events,
        "owed": segment.owed,
        "epoch": segment.epoch,
        "kept_for": kept_for(segment),
    })
}

/// Shows what a restart would begin with, newest first, and the state after `at`, or now.
///
/// # Errors
/// As [`Inspector::checkpoints`] and [`Inspector::state_at`].
pub(crate) fn checkpoints<W: Write>(
    inspector: &Inspector,
    at: Option<Lsn>,
    out: &mut Out<W>,
) -> Result<Seen> {
    let checkpoints = inspector.checkpoints()?;
    let state = match at {
        Some(lsn) => inspector.state_at(lsn)?,
        None => inspector.state(),
    };
    let damage = checkpoints.iter().any(|checkpoint| checkpoint.content.is_err());
    let seen = Seen { rows: checkpoints.len() as u64, damage };
    if out.form == Form::Json {
        let rows: Vec<Value> = checkpoints.iter().map(checkpoint_row).collect();
        let state = state.as_ref().map(state_row);
        let _flow =
            out.json(&json!({ "schema": "fchannel.checkpoints/1", "rows": rows, "state": state }));
        return Ok(seen);
    }
    let table = Table::begin(out, CHECKPOINT_COLUMNS);
    for checkpoint in &checkpoints {
        if table.row(out, &checkpoint_cells(checkpoint)).is_break() {
            return Ok(seen);
        }
    }
    let name = if at.is_some() { "state" } else { "now" };
    if let Some(state) = state {
        let status =
            if state.exact { "replayed" } else { "replayed past damage: owed is an upper bound" };
        let _flow =
            table.row(out, &cells_of(name.to_owned(), &state, "-".to_owned(), status.to_owned()));
    }
    Ok(seen)
}

fn checkpoint_cells(checkpoint: &CheckpointInfo) -> Vec<String> {
    let name = match checkpoint.generation {
        Some(_) => file_name(&checkpoint.path),
        None => format!("{} image", file_name(&checkpoint.path)),
    };
    let dash = || "-".to_owned();
    match &checkpoint.content {
        Ok(content) => match &content.state {
            Some(state) => {
                cells_of(name, state, content.next_frame.to_string(), "valid".to_owned())
            }
            None => vec![
                name,
                content.lsn.to_string(),
                dash(),
                dash(),
                dash(),
                dash(),
                dash(),
                content.next_frame.to_string(),
                "valid".to_owned(),
            ],
        },
        Err(error) => {
            let mut cells = vec![dash(); CHECKPOINT_COLUMNS.len() - 2];
            cells.insert(0, name);
            cells.push(format!("INVALID: {}", text::escaped(error.what())));
            cells
        }
    }
}

fn cells_of(name: String, state: &StateInfo, next_frame: String, status: String) -> Vec<String> {
    vec![
        name,
        state.lsn.to_string(),
        state.owed.to_string(),
        state.head.to_string(),
        state.next_seq.to_string(),
        state.taken.len().to_string(),
        state.marks.len().to_string(),
        next_frame,
        status,
    ]
}

fn checkpoint_row(checkpoint: &CheckpointInfo) -> Value {
    let mut row = json!({
        "path": checkpoint.path.to_string_lossy(),
        "generation": checkpoint.generation.map(|generation| generation.to_string()),
        "valid": checkpoint.content.is_ok(),
    });
    let Some(object) = row.as_object_mut() else { return row };
    match &checkpoint.content {
        Ok(content) => {
            object.insert("lsn".to_owned(), content.lsn.to_string().into());
            object.insert("next_frame".to_owned(), content.next_frame.to_string().into());
            object.insert("state".to_owned(), content.state.as_ref().map(state_row).into());
        }
        Err(error) => drop(object.insert("what".to_owned(), error.what().into())),
    }
    row
}

/// A state as an object.
fn state_row(state: &StateInfo) -> Value {
    let taken: Vec<[String; 2]> = state
        .taken
        .iter()
        .map(|(first, end)| [first.to_string(), end.previous().to_string()])
        .collect();
    let marks: Vec<Value> = state
        .marks
        .iter()
        .map(|(key, value)| {
            let mut mark = serde_json::Map::new();
            text::put_bytes(&mut mark, "key", key);
            text::put_bytes(&mut mark, "value", value);
            mark.into()
        })
        .collect();
    json!({
        "lsn": state.lsn.to_string(),
        "owed": state.owed,
        "head": state.head.to_string(),
        "next_seq": state.next_seq.to_string(),
        "taken": taken,
        "marks": marks,
        "exact": state.exact,
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| text::escaped_bytes(name.as_encoded_bytes())).unwrap_or_default()
}

/// A path, escaped: whoever named a directory may have been hostile, too.
pub(super) fn path_text(path: &Path) -> String {
    text::escaped_bytes(path.as_os_str().as_encoded_bytes())
}
