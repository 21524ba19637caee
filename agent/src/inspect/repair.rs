//! `fchannel repair`: what is done about damage, as a plan for people, and as a report by which it can be undone.

use super::{
    text::{self, count, counted, escaped, put_bytes},
    verify::row,
};
use fchannel::{
    Finding, Quarantined, Severity,
    repair::{Left, Made, Repaired, Undo},
};
use serde_json::{Map, Value, json};
use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

const SCHEMA: &str = "fchannel.repair/1";

/// A repair that was planned or carried out.
pub(crate) struct RepairPage<'a> {
    pub(crate) repaired: &'a Repaired,
    pub(crate) applied: bool,
    /// Milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// What a verification found afterwards that calls for somebody.
    pub(crate) findings_after: &'a [Finding],
}

impl RepairPage<'_> {
    /// Events that were owed and are not any more.
    pub(crate) fn lost(&self) -> u64 {
        self.repaired.lost
    }

    /// False if there is nothing to do.
    pub(crate) fn has_something(&self) -> bool {
        !self.repaired.damages.is_empty()
            || !self.repaired.undo.renamed.is_empty()
            || self.unmended().next().is_some()
    }

    /// True if a repair changes anything.
    pub(crate) fn changes(&self) -> bool {
        !self.repaired.undo.made.is_empty() || !self.repaired.undo.renamed.is_empty()
    }

    /// Findings that no record of the quarantine and no new name of a file stands for.
    fn unmended(&self) -> impl Iterator<Item = &Finding> {
        let Repaired { damages, undo, findings, .. } = self.repaired;
        findings.iter().filter(move |finding| {
            let renamed = undo.renamed.iter().any(|(old, _)| finding.file.as_ref() == Some(old));
            finding.severity > Severity::Info
                && !renamed
                && !damages.iter().any(|damage| is_about(finding, damage))
        })
    }

    fn steps(&self, damage: &Quarantined, left: &Left) -> Vec<String> {
        let mut steps = Vec::new();
        let renamed = self.repaired.undo.renamed.iter().find(|(old, _)| *old == damage.file);
        if let Some((old, new)) = renamed {
            steps.push(format!("rename {} to {}: nothing in it can be read", name(old), name(new)));
        } else if damage.bytes > 0 {
            steps.push(format!(
                "copy {} from {} on to quarantine/{}.bytes",
                counted(damage.bytes, "byte"),
                damage.at,
                damage.id
            ));
        }
        steps.push(format!(
            "write place, LSNs and events to quarantine/{}.damage; the log goes on at {}",
            damage.id,
            damage.next.map_or_else(|| "its end".to_owned(), |next| next.to_string())
        ));
        steps.push(loss(damage, left));
        if left.takes_at_most > 0 {
            steps.push(format!(
                "takes may be among the {} that are gone: what they took is delivered again",
                counted(left.takes_at_most, "frame")
            ));
        }
        steps
    }

    /// The page for people.
    pub(crate) fn lines(&self, dir: &str) -> Vec<String> {
        let Repaired { damages, left, findings, owed, undo, .. } = self.repaired;
        let word = if self.applied { "repaired" } else { "plan for" };
        let mut lines = vec![format!("{word} {}", escaped(dir))];
        if undo.data.iter().any(|data| *data != undo.home) {
            let all = undo.data.iter().filter(|data| **data != undo.home);
            let all = std::iter::once(&undo.home).chain(all);
            lines.extend(all.map(|dir| format!("  in {}", escaped(&dir.to_string_lossy()))));
        }
        lines.push(String::new());
        for (damage, left) in damages.iter().zip(left) {
            let about: Vec<&Finding> =
                findings.iter().filter(|finding| is_about(finding, damage)).collect();
            let codes: Vec<&str> = about.iter().map(|finding| finding.code).collect();
            let codes = if codes.is_empty() { "-".to_owned() } else { codes.join(" ") };
            lines.push(format!("  {codes}  {}  {}", damage.at, escaped(&damage.what)));
            for (number, step) in (1..).zip(self.steps(damage, left)) {
                lines.push(format!("    {number}  {step}"));
            }
        }
        for (old, new) in &undo.renamed {
            if !damages.iter().any(|damage| damage.file == *old) {
                let code = findings.iter().find(|finding| finding.file.as_ref() == Some(old));
                let code = code.map_or("-", |finding| finding.code);
                lines.push(format!("  {code}  {}", name(old)));
                lines.push(format!("    1  rename to {}: nothing is lost by that", name(new)));
            }
        }
        for finding in self.unmended() {
            lines.push(format!(
                "  {}  {}  {}",
                finding.code,
                escaped(&finding.position()),
                escaped(&finding.what)
            ));
            lines.push(format!("    a repair cannot mend this: fchannel explain {}", finding.code));
        }
        for made in undo.made.iter().filter(|made| is_of_the_log(&made.path, undo)) {
            lines.push(format!("  new  {}", name(&made.path)));
            lines.push("    behind all that is there: it says which events are lost".to_owned());
        }
        lines.push(String::new());
        lines.push(format!(
            "result   {} pending (before: at most {})   {} lost   {} in quarantine",
            count(owed.1),
            count(owed.0),
            counted(self.lost(), "event"),
            counted(damages.len() as u64, "damage"),
        ));
        lines
    }

    /// The report: all that was lost, damaged, may come twice, and how to take it back.
    pub(crate) fn json(&self) -> Value {
        let Repaired { damages, left, findings, owed, undo, warnings, .. } = self.repaired;
        let takes: u64 = left.iter().map(|left| left.takes_at_most).sum();
        let rows = damages.iter().zip(left).map(|(damage, left)| {
            let mut row = damage_row(damage);
            let codes = findings.iter().filter(|finding| is_about(finding, damage));
            row.insert("codes".to_owned(), codes.map(|finding| finding.code).collect());
            row.insert(
                "left".to_owned(),
                json!({ "verified": left.verified, "unverified": left.unverified }),
            );
            row.insert("takes_lost_at_most".to_owned(), left.takes_at_most.into());
            Value::from(row)
        });
        json!({
            "schema": SCHEMA,
            "applied": self.applied,
            "time": text::timestamp(self.time_ms),
            "channel": undo.home.to_string_lossy(),
            "pending": { "before_at_most": owed.0, "after": owed.1 },
            "lost": { "events": self.lost() },
            "damaged": {
                "damages": damages.len(),
                "events_left_verified": left.iter().map(|left| left.verified).sum::<u64>(),
                "events_left_unverified": left.iter().map(|left| left.unverified).sum::<u64>(),
            },
            "may_be_doubled": {
                "takes_lost_at_most": takes,
                "what": if takes > 0 { "events taken by these takes are delivered again" } else { "nothing" },
            },
            "damages": rows.collect::<Vec<_>>(),
            "findings": findings.iter().map(row).collect::<Vec<_>>(),
            "findings_after": self.findings_after.iter().map(row).collect::<Vec<_>>(),
            "warnings": warnings,
            "undo": undo_row(undo),
        })
    }
}

/// What is lost by a damage, and what of it can be had back.
fn loss(damage: &Quarantined, left: &Left) -> String {
    let (first, end) = damage.events;
    let events = end.get().saturating_sub(first.get());
    let seqs = match events {
        0 => return "lost: no event that is owed".to_owned(),
        1 => format!("seq {first}"),
        _ => format!("seq {first}-{}", end.previous()),
    };
    let what = match (left.verified, left.unverified) {
        (0, 0) => "none of it can be read any more".to_owned(),
        (sound, 0) => format!("{} of them can be put back", count(sound)),
        (0, guessed) => {
            format!("{} can be read, with a wrong checksum", count(guessed))
        }
        (sound, guessed) => format!(
            "{} of them can be put back, and {} be read, with a wrong checksum",
            count(sound),
            count(guessed)
        ),
    };
    format!("lost: {} ({seqs}); {what}", counted(events, "event"))
}

fn is_about(finding: &Finding, damage: &Quarantined) -> bool {
    let segment = finding.segment == Some(damage.at.segment) && damage.at.offset == 0;
    finding.severity > Severity::Info && (finding.at == Some(damage.at) || segment)
}

/// Not a record, not the quarantine itself.
fn is_of_the_log(path: &Path, undo: &Undo) -> bool {
    undo.data.iter().any(|dir| path.parent() == Some(dir.as_path()))
        && path.extension().is_none()
        && !name(path).starts_with("quarantine")
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| text::escaped_bytes(name.as_encoded_bytes())).unwrap_or_default()
}

/// A record of the quarantine for programs.
pub(super) fn damage_row(damage: &Quarantined) -> Map<String, Value> {
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| drop(row.insert(key.to_owned(), value));
    put("id", damage.id.into());
    put("found", text::timestamp(damage.found_ms).into());
    put("verdict", damage.verdict.to_string().into());
    put("file", damage.file.to_string_lossy().into());
    put("pos", damage.at.to_string().into());
    put("next", damage.next.map(|next| next.to_string()).into());
    put("lsn", damage.lsns.0.to_string().into());
    put("lsn_end", damage.lsns.1.to_string().into());
    put("seq", damage.events.0.to_string().into());
    put("seq_end", damage.events.1.to_string().into());
    put("events", damage.events.1.get().saturating_sub(damage.events.0.get()).into());
    put("bytes", damage.bytes.into());
    put("what", damage.what.clone().into());
    row
}

fn undo_row(undo: &Undo) -> Value {
    let made = undo.made.iter().map(|made| {
        let mut row = path_row(&made.path);
        if let Some((bytes, crc)) = made.content {
            row.insert("bytes".to_owned(), bytes.into());
            row.insert("crc".to_owned(), format!("{crc:08x}").into());
        }
        Value::from(row)
    });
    let renamed =
        undo.renamed.iter().map(|(old, new)| json!({ "old": path_row(old), "new": path_row(new) }));
    json!({
        "home": path_row(&undo.home),
        "data": undo.data.iter().map(|dir| path_row(dir)).collect::<Vec<_>>(),
        "made": made.collect::<Vec<_>>(),
        "renamed": renamed.collect::<Vec<_>>(),
    })
}

/// A path need not be UTF-8: then its bytes are in base64.
fn path_row(path: &Path) -> Map<String, Value> {
    let mut row = Map::new();
    put_bytes(&mut row, "path", path.as_os_str().as_encoded_bytes());
    row
}

/// What a report says about the way back.
///
/// # Errors
/// Says what is missing.
pub(crate) fn undo_of(report: &Value) -> Result<Undo, String> {
    let wrong = |what: &str| format!("this is not a report of a repair: {what}");
    if report["schema"] != SCHEMA {
        return Err(wrong(&format!("its schema is not {SCHEMA}")));
    }
    if report["applied"] != true {
        return Err("this is a plan that was not carried out: there is nothing to undo".to_owned());
    }
    let undo = &report["undo"];
    let path = |row: &Value| path_in(row).ok_or_else(|| wrong("a path is missing"));
    let list = |name: &str| {
        undo[name].as_array().cloned().ok_or_else(|| wrong(&format!("undo.{name} is missing")))
    };
    let made = |row: &Value| {
        let crc = row["crc"].as_str().and_then(|crc| u32::from_str_radix(crc, 16).ok());
        let content = row["bytes"].as_u64().zip(crc);
        if content.is_none() && row.get("bytes").is_some() {
            return Err(wrong("a checksum is missing"));
        }
        Ok(Made { path: path(row)?, content })
    };
    let renamed = |row: &Value| Ok((path(&row["old"])?, path(&row["new"])?));
    Ok(Undo {
        home: path(&undo["home"])?,
        data: list("data")?.iter().map(path).collect::<Result<_, _>>()?,
        made: list("made")?.iter().map(made).collect::<Result<_, _>>()?,
        renamed: list("renamed")?.iter().map(renamed).collect::<Result<_, String>>()?,
    })
}

fn path_in(row: &Value) -> Option<PathBuf> {
    match (row["path"].as_str(), row["path_b64"].as_str()) {
        (Some(path), _) => Some(PathBuf::from(path)),
        (None, Some(coded)) => Some(OsString::from_vec(text::from_base64(coded)?).into()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_read_as_it_was_written() {
        let odd = PathBuf::from(OsString::from_vec(b"/c/\xff1".to_vec()));
        let undo = Undo {
            home: "/c".into(),
            data: vec!["/c".into(), odd.clone()],
            made: vec![
                Made { path: "/c/quarantine".into(), content: None },
                Made { path: odd, content: Some((7, 0x0102)) },
            ],
            renamed: vec![("/c/a".into(), "/c/b".into())],
        };
        let report = json!({ "schema": SCHEMA, "applied": true, "undo": undo_row(&undo) });
        let report: Value = serde_json::from_str(&report.to_string()).unwrap();
        assert_eq!(undo_of(&report), Ok(undo));
        for wrong in [json!({}), json!({ "schema": SCHEMA, "applied": false })] {
            assert!(undo_of(&wrong).is_err());
        }
        let mut cut = report;
        cut["undo"]["made"][1]["crc"] = Value::Null;
        assert!(undo_of(&cut).is_err(), "what would be removed must be known");
    }
}
