//! What is kept of a row: figures that are printed, drawn, written as JSON, and read again.

use crate::{
    measure::{Shape, Work},
    peers::Answer,
};
use fchannel_benches::spread::Spread;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// What one peer did in one cell with events of one size.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) work: Work,
    pub(crate) event_bytes: usize,
    pub(crate) shape: Shape,
    pub(crate) peer: String,
    pub(crate) events_per_s: Spread,
    /// How many times the floor that was.
    pub(crate) ratio: Spread,
    /// Rounds that count.
    pub(crate) rounds: usize,
    /// Rounds in which somebody else was at the disk.
    pub(crate) disturbed: usize,
    /// Of a commit: half took no longer. `None` where nobody knows.
    pub(crate) p50_us: Option<u32>,
    /// The same of 99 of 100.
    pub(crate) p99_us: Option<u32>,
}

impl Figures {
    pub(crate) fn as_json(&self) -> Value {
        let thousandths = |figure: f64| (figure * 1000.0).round() / 1000.0;
        json!({
            "work": self.work.to_string(),
            "event_bytes": self.event_bytes,
            "batch": self.shape.batch,
            "committers": self.shape.committers,
            "peer": self.peer,
            "events_per_s": self.events_per_s.median.round(),
            "events_per_s_min": self.events_per_s.min.round(),
            "events_per_s_max": self.events_per_s.max.round(),
            "ratio": thousandths(self.ratio.median),
            "ratio_min": thousandths(self.ratio.min),
            "ratio_max": thousandths(self.ratio.max),
            "rounds": self.rounds,
            "disturbed": self.disturbed,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
        })
    }

    /// `None` if `row` is not what [`Self::as_json`] writes.
    fn from_json(row: &Value) -> Option<Self> {
        let whole = |name: &str| usize::try_from(row.get(name)?.as_u64()?).ok();
        let small = |name: &str| u32::try_from(row.get(name)?.as_u64()?).ok();
        let text = |name: &str| row.get(name)?.as_str();
        let spread = |name: &str| {
            let figure = |end: &str| row.get(format!("{name}{end}"))?.as_f64();
            Some(Spread { median: figure("")?, min: figure("_min")?, max: figure("_max")? })
        };
        Some(Self {
            work: Work::named(text("work")?).ok()?,
            event_bytes: whole("event_bytes")?,
            shape: Shape { batch: small("batch")?, committers: whole("committers")? },
            peer: text("peer")?.to_owned(),
            events_per_s: spread("events_per_s")?,
            ratio: spread("ratio")?,
            rounds: whole("rounds")?,
            disturbed: whole("disturbed")?,
            p50_us: small("p50_us"),
            p99_us: small("p99_us"),
        })
    }
}

/// A document, a row on each line.
pub(crate) fn document(rows: &[Figures]) -> String {
    let rows: Vec<String> = rows.iter().map(|row| row.as_json().to_string()).collect();
    format!("{{\"schema\": \"fchannel.rivals/1\", \"rows\": [\n{}\n]}}\n", rows.join(",\n"))
}

/// The rows of such a document.
pub(crate) fn read(path: &Path) -> Answer<Vec<Figures>> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| named(&error))?;
    rows_of(&text).ok_or_else(|| named(&"not what -o json writes").into())
}

fn rows_of(text: &str) -> Option<Vec<Figures>> {
    let document: Value = serde_json::from_str(text).ok()?;
    document.get("rows")?.as_array()?.iter().map(Figures::from_json).collect()
}

#[cfg(test)]
pub(crate) fn example(peer: &str, batch: u32, ratios: [f64; 3]) -> Figures {
    let shape = Shape { batch, committers: 1 };
    Figures {
        work: Work::Put,
        event_bytes: 500,
        shape,
        peer: peer.to_owned(),
        events_per_s: Spread::of(ratios.map(|ratio| ratio * 1000.0)),
        ratio: Spread::of(ratios),
        rounds: 3,
        disturbed: 0,
        p50_us: Some(100),
        p99_us: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let rows = [example("a", 1, [1.0, 2.0, 3.0]), example("b", 100, [0.5, 0.5, 0.25])];
        assert_eq!(rows_of(&document(&rows)).as_deref(), Some(rows.as_slice()));
        assert_eq!(rows_of("{\"rows\": [{}]}"), None);
    }
}
