//! `inspect summary`: one screen.

use super::{
    Seen,
    events::time_of,
    lists::path_text,
    out::{Form, Out},
    text::{self, counted},
};
use fchannel::{Event, EventInfo, ImageSource, Inspector, Result, Severity, Summary, io::Holder};
use serde_json::{Value, json};
use std::{io::Write, path::Path, time::SystemTime};

/// Shows one screen about a channel.
///
/// # Errors
/// As [`Inspector::summary`].
pub(crate) fn summary<W: Write>(inspector: &Inspector, out: &mut Out<W>) -> Result<Seen> {
    let summary = inspector.summary()?;
    let worst = summary.findings.iter().map(|finding| finding.severity).max();
    let seen = Seen { rows: 1, damage: worst > Some(Severity::Info) };
    if out.form == Form::Json {
        let _flow = out.json(&json(&summary));
        return Ok(seen);
    }
    for (label, value) in lines(&summary) {
        let line = match out.form {
            Form::Table => format!("{label:<16} {value}"),
            _ => format!("{label}\t{value}"),
        };
        if out.line(line.trim_end()).is_break() {
            break;
        }
    }
    Ok(seen)
}

fn lines(summary: &Summary) -> Vec<(&'static str, String)> {
    let (lsn, place) = summary.horizon;
    let mut lines = vec![
        ("channel", path_text(&summary.home)),
        ("state", format!("{}; read up to lsn:{lsn} ({place})", holder(summary.holder))),
        ("health", health(summary)),
    ];
    if let Some(state) = &summary.state {
        let upper = if state.exact { "" } else { "at most " };
        lines.push((
            "pending",
            format!(
                "{upper}{}   about {}",
                counted(state.owed, "event"),
                text::size(summary.owed_bytes_about)
            ),
        ));
        lines.push((
            "oldest pending",
            summary.oldest.as_ref().map_or_else(|| "-".to_owned(), oldest),
        ));
        lines.push(("next", format!("seq:{}", state.next_seq)));
    }
    lines.push((
        "files",
        format!("{}   {}", counted(summary.segments, "segment"), text::size(summary.segment_bytes)),
    ));
    for dir in &summary.data {
        let free = match (dir.present, dir.free_bytes) {
            (false, _) => "ABSENT".to_owned(),
            (true, Some(free)) => format!("{} free", text::size(free)),
            (true, None) => "-".to_owned(),
        };
        lines.push(("disk", format!("{}   {free}", path_text(&dir.path))));
    }
    lines.push(("checkpoint", checkpoint(&summary.image)));
    lines.push((
        "if it restarted",
        format!(
            "it would read {}, {}",
            counted(summary.restart_frames, "frame"),
            text::size(summary.restart_bytes)
        ),
    ));
    let quarantine = match summary.quarantined {
        0 => "empty".to_owned(),
        damages => {
            format!("{} to settle: see `fchannel quarantine list`", counted(damages, "damage"))
        }
    };
    lines.push(("quarantine", quarantine));
    for finding in &summary.findings {
        lines.push((
            finding.code,
            format!(
                "{} {}: {}",
                finding.severity,
                text::escaped(&finding.position()),
                text::escaped(&finding.what)
            ),
        ));
    }
    lines
}

fn holder(holder: Holder) -> String {
    match holder {
        Holder::Process { pid: Some(pid) } => format!("LIVE: process {pid} holds the lock"),
        Holder::Process { pid: None } => "LIVE: a process holds the lock".to_owned(),
        Holder::Nobody => "at rest: nobody holds the lock".to_owned(),
        Holder::Unknown => "live or not is not known".to_owned(),
    }
}

fn health(summary: &Summary) -> String {
    match summary.findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Error) => "DAMAGED: see `fchannel inspect verify`".to_owned(),
        Some(Severity::Warn) => "ATTENTION: see `fchannel inspect verify`".to_owned(),
        _ => match &summary.state {
            Some(state) if !state.exact => "DAMAGED: see `fchannel inspect verify`".to_owned(),
            _ if summary.quarantined > 0 => "ATTENTION: damage was set aside".to_owned(),
            _ => "nothing wrong in what a restart reads".to_owned(),
        },
    }
}

fn oldest(event: &EventInfo) -> String {
    let decoded = Event::decode(event.payload.clone()).unwrap_or_default();
    let (time_ms, source) = time_of(event, &decoded);
    let age = text::age(text::now_ms().saturating_sub(time_ms) / 1000);
    format!("{}   age {age}   (source: {source})   seq:{}", text::time(time_ms), event.seq)
}

fn checkpoint(image: &ImageSource) -> String {
    match image {
        ImageSource::Checkpoint(path) => {
            let age = written_ms(path).map_or_else(String::new, |ms| {
                let seconds = text::now_ms().saturating_sub(ms) / 1000;
                format!(
                    "   {} (written {} ago by the file's clock)",
                    text::time(ms),
                    text::age(seconds)
                )
            });
            format!("{}{age}", path_text(Path::new(path.file_name().unwrap_or_default())))
        }
        ImageSource::Segment(id) => format!("none: the image at the head of seg-{id} serves"),
        _ => "none: the log is read from its start".to_owned(),
    }
}

/// When a file was written, as its directory says: a checkpoint holds no time of its own.
fn written_ms(path: &Path) -> Option<u64> {
    let written = path.metadata().ok()?.modified().ok()?;
    u64::try_from(written.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()
}

fn json(summary: &Summary) -> Value {
    let now_ms = text::now_ms();
    let seconds_since = |ms: u64| now_ms.saturating_sub(ms) as f64 / 1000.0;
    let (locked, pid) = match summary.holder {
        Holder::Process { pid } => (Some(true), pid),
        Holder::Nobody => (Some(false), None),
        Holder::Unknown => (None, None),
    };
    let oldest = summary.oldest.as_ref().map(|event| {
        let decoded = Event::decode(event.payload.clone()).unwrap_or_default();
        let (ms, source) = time_of(event, &decoded);
        json!({ "seq": event.seq.to_string(), "time": text::timestamp(ms), "age_seconds": seconds_since(ms), "time_source": source })
    });
    let disk: Vec<Value> = summary
        .data
        .iter()
        .map(|dir| json!({ "dir": dir.path.to_string_lossy(), "present": dir.present, "free_bytes": dir.free_bytes }))
        .collect();
    let (kind, path) = match &summary.image {
        ImageSource::Checkpoint(path) => ("checkpoint", Some(path)),
        ImageSource::Segment(_) => ("image", None),
        _ => ("none", None),
    };
    let written = path.and_then(|path| written_ms(path));
    json!({
        "schema": "fchannel.summary/1",
        "channel": summary.home.to_string_lossy(),
        "log_id": summary.log_id.map(|id| text::hex(&id)),
        "created": summary.created_ms.and_then(text::timestamp),
        "live": {
            "locked": locked,
            "pid": pid,
            "read_up_to": summary.horizon.1.to_string(),
            "lsn": summary.horizon.0.to_string(),
        },
        "health": {
            "verdict": summary.verdict.to_string(),
            "findings": summary.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
        },
        "pending": summary.state.as_ref().map(|state| json!({
            "events": state.owed,
            "bytes_about": summary.owed_bytes_about,
            "exact": state.exact,
            "next_seq": state.next_seq.to_string(),
        })),
        "oldest": oldest,
        "files": { "segments": summary.segments, "bytes": summary.segment_bytes },
        "disk": disk,
        "checkpoint": {
            "from": kind,
            "path": path.map(|path| path.to_string_lossy()),
            "written": written.and_then(text::timestamp),
            "age_seconds": written.map(seconds_since),
        },
        "restart": { "frames": summary.restart_frames, "bytes": summary.restart_bytes },
        "unvouched_frames": summary.unvouched_frames,
        "quarantined": summary.quarantined,
    })
}
