//! The end of a proof: a table or an object on stdout, and whether it holds.

use fchannel_torture::{Answer, record::Record};
use serde_json::{Map, Value};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For machines, one object.
    Json,
}

/// The figures of a proof, in the order in which they are printed.
pub(crate) struct Outcome {
    name: &'static str,
    rows: Vec<(String, Value)>,
}

impl Outcome {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new() }
    }

    pub(crate) fn row(mut self, what: impl Into<String>, value: impl Into<Value>) -> Self {
        self.rows.push((what.into(), value.into()));
        self
    }

    /// The rows that all proofs share.
    pub(crate) fn record(self, record: &Record) -> Self {
        let totals = &record.totals;
        self.row("puts acknowledged", totals.puts)
            .row("takes acknowledged", totals.takes)
            .row("puts refused, typed", totals.refused)
            .row("lost", totals.lost)
            .row("out of order", totals.out_of_order)
            .row("doubled", totals.doubled)
            .row("of these, takes not committed", totals.doubled_uncommitted)
            .row("other findings", totals.others)
    }

    pub(crate) fn print(&self, output: Output) {
        match output {
            Output::Json => {
                let mut object = Map::new();
                object.insert("proof".into(), self.name.into());
                for (what, value) in &self.rows {
                    object.insert(what.replace([',', '-'], "").replace(' ', "_"), value.clone());
                }
                println!("{}", Value::Object(object));
            }
            Output::Table => {
                let width = self.rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
                for (what, value) in &self.rows {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    println!("{}: {what:<width$}  {value:>12}", self.name);
                }
            }
        }
    }
}

/// An error if anything was found, with all of it.
pub(crate) fn hold(record: &Record) -> Answer<()> {
    let totals = &record.totals;
    let broken = totals.lost + totals.out_of_order + totals.others + totals.doubled
        - totals.doubled_uncommitted;
    if broken > 0 || !record.findings.is_empty() {
        return Err(
            format!("the promise does not hold:\n  {}", record.findings.join("\n  ")).into()
        );
    }
    if totals.puts == 0 || totals.takes == 0 {
        return Err("nothing was put, or nothing was taken: nothing was proved".into());
    }
    Ok(())
}
