//! What is asked for.

use crate::{
    figures::Figures,
    flume::Flume,
    measure::{Cell, Shape, Work},
    peers::{Answer, Entry, PEERS},
    plot::Of,
};
use std::{path::PathBuf, time::Duration};

const CELLS: &str = "1x1,1x8,1x64,10x8,100x1,100x8,1000x1,1000x8";
const GRID_CELLS: &str = "1x1,1x8,1x64,10x1,10x8,10x64,100x1,100x8,100x64,1000x1,1000x8,1000x64";
const GRID_EVENT_BYTES: [usize; 3] = [100, 500, 10_240];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Table,
    Json,
    Markdown,
}

#[derive(Default)]
pub(crate) struct Plan {
    grid: bool,
    works: Option<Vec<Work>>,
    cells: Option<Vec<Shape>>,
    event_bytes: Option<Vec<usize>>,
    only: Option<Vec<String>>,
    ways: bool,
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
    pub(crate) flume: Option<String>,
    pub(crate) flume_time: Duration,
    pub(crate) strace: bool,
    /// Rows that were written before: nothing is measured.
    pub(crate) from: Vec<PathBuf>,
    pub(crate) form: Option<Form>,
    pub(crate) plot: Option<PathBuf>,
    pub(crate) plot_of: Of,
    pub(crate) title: Option<String>,
    /// One peer, in this directory, for who counts its system calls.
    pub(crate) alone: Option<String>,
    pub(crate) dir: PathBuf,
}

impl Plan {
    /// `None` if who runs this wants to be told how.
    pub(crate) fn from_arguments(words: impl Iterator<Item = String>) -> Answer<Option<Self>> {
        let mut plan = Self { flume_time: Duration::from_secs(12), ..Self::default() };
        let (mut rounds, mut slice_ms) = (None, None);
        let mut words = words.peekable();
        while let Some(name) = words.next() {
            match name.as_str() {
                "--help" => return Ok(None),
                "--strace" => plan.strace = true,
                "--ways" => plan.ways = true,
                "--grid" => plan.grid = true,
                _ => {
                    let value =
                        words.next().ok_or_else(|| format!("{name}: a value is missing"))?;
                    match name.as_str() {
                        "--rounds" => rounds = Some(value.parse()?),
                        "--slice-ms" => slice_ms = Some(value.parse()?),
                        name => plan.set(name, value)?,
                    }
                }
            }
        }
        plan.rounds = rounds.unwrap_or(if plan.grid { 3 } else { 5 });
        plan.slice = Duration::from_millis(slice_ms.unwrap_or(if plan.grid { 150 } else { 500 }));
        plan.check_names()?;
        Ok(Some(plan))
    }

    fn set(&mut self, name: &str, value: String) -> Answer<()> {
        let list = || value.split(',').map(str::trim);
        match name {
            "--work" => self.works = Some(list().map(Work::named).collect::<Answer<_>>()?),
            "--cells" => self.cells = Some(Shape::all_of(&value)?),
            "--event-bytes" => self.event_bytes = Some(list().map(bytes).collect::<Answer<_>>()?),
            "--only" => self.only = Some(list().map(str::to_owned).collect()),
            "--flume" => self.flume = Some(value),
            "--flume-s" => self.flume_time = Duration::from_secs(value.parse()?),
            "--from" => self.from = list().map(PathBuf::from).collect(),
            "-o" if value == "json" => self.form = Some(Form::Json),
            "-o" if value == "markdown" => self.form = Some(Form::Markdown),
            "--plot" => self.plot = Some(value.into()),
            "--plot-of" => self.plot_of = Of::named(&value)?,
            "--title" => self.title = Some(value),
            "--alone" => self.alone = Some(value),
            "--dir" => self.dir = value.into(),
            _ => return Err(format!("{name} {value}: there is no such option, see --help").into()),
        }
        Ok(())
    }

    /// A peer that is misspelled would be missed in silence.
    fn check_names(&self) -> Answer<()> {
        let names: Vec<&str> = PEERS.iter().map(|entry| entry.name).chain([Flume::NAME]).collect();
        match self.only.iter().flatten().find(|name| !names.contains(&name.as_str())) {
            // Rows of a build with all features are read by one without.
            Some(name) if self.from.is_empty() => {
                Err(format!("--only {name}: one of {}", names.join(", ")).into())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &'static Entry> {
        PEERS.iter().filter(|entry| match &self.only {
            Some(only) => only.iter().any(|name| name == entry.name),
            None => self.ways || !entry.is_way,
        })
    }

    /// What is measured.
    pub(crate) fn all_cells(&self) -> Answer<Vec<Cell>> {
        let shapes = match &self.cells {
            Some(shapes) => shapes.clone(),
            None => Shape::all_of(if self.grid { GRID_CELLS } else { CELLS })?,
        };
        let works = self.works.clone().unwrap_or_else(|| vec![Work::Put]);
        let mut cells = Vec::new();
        for work in works {
            for event_bytes in self.event_bytes() {
                let cell = |shape: &Shape| Cell { work, event_bytes, shape: *shape };
                cells.extend(shapes.iter().map(cell));
            }
        }
        Ok(cells)
    }

    /// The sizes of events.
    pub(crate) fn event_bytes(&self) -> Vec<usize> {
        let default = || if self.grid { GRID_EVENT_BYTES.to_vec() } else { vec![500] };
        self.event_bytes.clone().unwrap_or_else(default)
    }

    /// Whether a row that was read is asked for: by what was said, not by what would be measured.
    pub(crate) fn wants(&self, row: &Figures) -> bool {
        fn has<T: PartialEq>(list: Option<&Vec<T>>, item: &T) -> bool {
            list.is_none_or(|list| list.contains(item))
        }
        has(self.works.as_ref(), &row.work)
            && has(self.cells.as_ref(), &row.shape)
            && has(self.event_bytes.as_ref(), &row.event_bytes)
            && has(self.only.as_ref(), &row.peer)
    }
}

fn bytes(text: &str) -> Answer<usize> {
    let bytes = text.parse().ok().filter(|bytes| (1..=1 << 20).contains(bytes));
    bytes.ok_or_else(|| format!("--event-bytes {text}: 1 to 1048576").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::example;

    fn plan(words: &str) -> Plan {
        Plan::from_arguments(words.split(' ').map(str::to_owned))
            .expect("right words")
            .expect("no --help")
    }

    #[test]
    fn the_grid_is_each_size_of_an_event_by_each_cell_unless_less_is_asked_for() {
        assert_eq!(plan("--grid").all_cells().expect("cells").len(), 36);
        let less = plan("--grid --event-bytes 100 --cells 1x1,1x8 --work put,steady");
        assert_eq!(less.all_cells().expect("cells").len(), 4);
        assert_eq!(less.rounds, 3);
        assert!(
            Plan::from_arguments(["--only", "fchanel"].map(str::to_owned).into_iter()).is_err()
        );
    }

    #[test]
    fn rows_that_are_read_are_kept_as_asked() {
        let row = example("okaywal", 100, [1.0; 3]);
        assert!(plan("--from a.json").wants(&row));
        assert!(plan("--from a.json --only rocksdb,okaywal --event-bytes 500").wants(&row));
        assert!(!plan("--from a.json --cells 1x1").wants(&row));
    }
}
