//! `inspect verify`: everything that can be checked without changing anything.

use super::{
    Seen,
    out::{Column, Form, Out, Side, Table},
    progress::Progress,
    text::{self, counted, escaped},
};
use fchannel::{Finding, Inspector, Result, Severity, Verification, Verify};
use serde_json::{Value, json};
use std::{
    io::Write,
    ops::ControlFlow::{self, Continue},
};

const COLUMNS: &[Column] = &[
    ("CODE", 6, Side::Left),
    ("SEVERITY", 8, Side::Left),
    ("POS", 18, Side::Left),
    ("VERDICT", 7, Side::Left),
    ("WHAT", 0, Side::Left),
    ("STAKE", 0, Side::Left),
];

/// Verifies and shows what was found.
///
/// # Errors
/// As [`Inspector::verify`].
pub(crate) fn verify<W: Write>(
    inspector: &Inspector,
    options: Verify,
    out: &mut Out<W>,
) -> Result<Seen> {
    let mut progress = Progress::new("verify");
    let found = inspector.verify(options, |at| progress.tell(at.done_bytes, at.total_bytes))?;
    drop(progress);
    let seen =
        Seen { rows: found.findings.len() as u64, damage: found.worst > Some(Severity::Info) };
    let _flow = match out.form {
        Form::Json => out.json(&json(&found, options)),
        Form::Plain => plain(&found, out),
        Form::Table => page(&found, options, out),
    };
    Ok(seen)
}

fn plain<W: Write>(found: &Verification, out: &mut Out<W>) -> ControlFlow<()> {
    let table = Table::begin(out, COLUMNS);
    for finding in &found.findings {
        table.row(
            out,
            &[
                finding.code.to_owned(),
                finding.severity.to_string(),
                escaped(&finding.position()).into_owned(),
                verdict(finding),
                escaped(&finding.what).into_owned(),
                finding.stake.clone(),
            ],
        )?;
    }
    Continue(())
}

fn verdict(finding: &Finding) -> String {
    finding.verdict.map_or_else(|| "-".to_owned(), |verdict| verdict.to_string())
}

fn page<W: Write>(found: &Verification, options: Verify, out: &mut Out<W>) -> ControlFlow<()> {
    let depth = if options.deep {
        "checksums, order, transactions, checkpoints"
    } else {
        "what a restart reads"
    };
    out.line(&format!(
        "checked {}, {}, {} ({depth})",
        counted(found.segments, "segment"),
        counted(found.frames, "frame"),
        text::size(found.bytes)
    ))?;
    out.line("")?;
    for finding in &found.findings {
        let severity =
            colored(&format!("{:<5}", finding.severity.to_string()), finding.severity, out.color);
        let position = finding.position();
        let position = escaped(&position);
        out.line(&format!(
            "  {}  {severity}  {:<4} {position:<18}  {}",
            finding.code,
            verdict(finding),
            escaped(&finding.what)
        ))?;
        if !finding.stake.is_empty() {
            out.line(&format!("  {:<40}at stake: {}", "", finding.stake))?;
        }
    }
    if found.findings_left_out > 0 {
        out.line(&format!(
            "  and {} more (--max-findings)",
            counted(found.findings_left_out, "finding")
        ))?;
    }
    if !found.findings.is_empty() {
        out.line("")?;
    }
    out.line(&format!("result   {}", result(found)))
}

fn result(found: &Verification) -> String {
    let word = match found.worst {
        Some(Severity::Error) => "DAMAGED",
        Some(Severity::Warn) => "ATTENTION",
        _ => "clean",
    };
    let Some(owed) = found.owed else { return word.to_owned() };
    let upper = if found.exact { "" } else { "at most " };
    format!(
        "{word}   {upper}{} owed   {} of them cannot be read",
        counted(owed, "event"),
        text::count(found.owed_lost)
    )
}

/// Never colour alone: the word says it too.
fn colored(word: &str, severity: Severity, color: bool) -> String {
    let code = match severity {
        _ if !color => return word.to_owned(),
        Severity::Error => 31,
        Severity::Warn => 33,
        Severity::Info => return word.to_owned(),
    };
    format!("\u{1b}[{code}m{word}\u{1b}[0m")
}

fn json(found: &Verification, options: Verify) -> Value {
    let rows: Vec<Value> = found.findings.iter().map(row).collect();
    json!({
        "schema": "fchannel.verify/1",
        "deep": options.deep,
        "clean": found.worst <= Some(Severity::Info),
        "segments": found.segments,
        "frames": found.frames,
        "events": found.events,
        "bytes": found.bytes,
        "owed": found.owed,
        "owed_lost": found.owed_lost,
        "exact": found.exact,
        "rows": rows,
        "rows_left_out": found.findings_left_out,
    })
}

fn row(finding: &Finding) -> Value {
    json!({
        "code": finding.code,
        "severity": finding.severity.to_string(),
        "pos": finding.position(),
        "lsn": finding.lsn.map(|lsn| lsn.to_string()),
        "file": finding.file.as_ref().map(|file| file.to_string_lossy()),
        "verdict": finding.verdict.map(|verdict| verdict.to_string()),
        "what": finding.what,
        "stake": finding.stake,
    })
}
