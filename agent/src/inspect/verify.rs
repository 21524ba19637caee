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

/// The options of `inspect verify`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifyOptions<'a> {
    pub(crate) depth: Verify,
    /// There are other channels, so that each must be named.
    pub(crate) several: bool,
    pub(crate) quiet: bool,
    /// As the user named it.
    pub(crate) channel: &'a str,
}

/// Verifies and shows what was found; answers the report for programs too.
///
/// # Errors
/// As [`Inspector::verify`].
pub(crate) fn verify<W: Write>(
    inspector: &Inspector,
    options: &VerifyOptions<'_>,
    out: &mut Out<W>,
) -> Result<(Seen, Value)> {
    let mut progress = (!options.quiet).then(|| Progress::new("verify"));
    let found = inspector.verify(options.depth, |at| {
        if let Some(progress) = &mut progress {
            progress.tell(at.done_bytes, at.total_bytes);
        }
    })?;
    drop(progress);
    let seen =
        Seen { rows: found.findings.len() as u64, damage: found.worst > Some(Severity::Info) };
    let report = json(inspector, &found, options.depth);
    let _flow = match out.form {
        _ if options.quiet => Continue(()),
        Form::Json => out.json(&report),
        Form::Plain => plain(&found, options, out),
        Form::Table => page(&found, options, out),
    };
    Ok((seen, report))
}

fn plain<W: Write>(
    found: &Verification,
    options: &VerifyOptions<'_>,
    out: &mut Out<W>,
) -> ControlFlow<()> {
    if options.several {
        out.line(&format!("channel\t{}", escaped(options.channel)))?;
    }
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

fn page<W: Write>(
    found: &Verification,
    options: &VerifyOptions<'_>,
    out: &mut Out<W>,
) -> ControlFlow<()> {
    if options.several {
        out.line(&format!("channel {}", escaped(options.channel)))?;
    }
    let depth = if options.depth.deep {
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
    out.line(&format!("result   {}", result(found)))?;
    if found.worst > Some(Severity::Info) {
        out.line(&format!(
            "next     fchannel repair {}   (shows a plan, changes nothing)",
            escaped(options.channel)
        ))?;
        out.line("         fchannel explain CODE   (what a code means, what to do and what not)")?;
    }
    if options.several { out.line("") } else { Continue(()) }
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

fn json(inspector: &Inspector, found: &Verification, options: Verify) -> Value {
    let rows: Vec<Value> = found.findings.iter().map(row).collect();
    json!({
        "schema": "fchannel.verify/1",
        "channel": inspector.directories().0.to_string_lossy(),
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

/// A finding for programs.
pub(super) fn row(finding: &Finding) -> Value {
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
