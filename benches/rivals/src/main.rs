//! The same durable work done by us, by rivals, and by the raw floor of the disk, alternated in one run: see `usage.txt`.

mod flume;
mod measure;
mod peers;
mod plot;
mod report;
mod strace;

use flume::Flume;
use measure::{Shape, Work};
use peers::{Answer, Entry, PEERS};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) struct Plan {
    works: Vec<Work>,
    cells: Vec<Shape>,
    event_bytes: usize,
    only: Option<Vec<String>>,
    rounds: usize,
    slice: Duration,
    flume: Option<String>,
    flume_time: Duration,
    strace: bool,
    json: bool,
    plot: Option<PathBuf>,
    /// One peer, in this directory, for who counts its system calls.
    alone: Option<String>,
    dir: PathBuf,
}

impl Plan {
    /// `None` if who runs this wants to be told how.
    fn from_arguments() -> Answer<Option<Self>> {
        let mut plan = Self {
            works: vec![Work::Put],
            cells: Shape::all_of("1x1,1x8,1x64,10x8,100x1,100x8,1000x1,1000x8")?,
            event_bytes: 500,
            only: None,
            rounds: 5,
            slice: Duration::from_millis(500),
            flume: None,
            flume_time: Duration::from_secs(12),
            strace: false,
            json: false,
            plot: None,
            alone: None,
            dir: PathBuf::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--help" => return Ok(None),
                "--strace" => {
                    plan.strace = true;
                    continue;
                }
                _ => {}
            }
            let value = arguments.next().ok_or_else(|| format!("{name}: a value is missing"))?;
            match name.as_str() {
                "--work" => {
                    plan.works = value.split(',').map(Work::named).collect::<Answer<_>>()?
                }
                "--cells" => plan.cells = Shape::all_of(&value)?,
                "--event-bytes" => plan.event_bytes = value.parse()?,
                "--only" => {
                    plan.only = Some(value.split(',').map(|name| name.trim().to_owned()).collect())
                }
                "--rounds" => plan.rounds = value.parse()?,
                "--slice-ms" => plan.slice = Duration::from_millis(value.parse()?),
                "--flume" => plan.flume = Some(value),
                "--flume-s" => plan.flume_time = Duration::from_secs(value.parse()?),
                "-o" if value == "json" => plan.json = true,
                "--plot" => plan.plot = Some(value.into()),
                "--alone" => plan.alone = Some(value),
                "--dir" => plan.dir = value.into(),
                _ => {
                    return Err(
                        format!("{name} {value}: there is no such option, see --help").into()
                    );
                }
            }
        }
        plan.check_names()?;
        Ok(Some(plan))
    }

    /// A peer that is misspelled would be missed in silence.
    fn check_names(&self) -> Answer<()> {
        let names: Vec<&str> = PEERS.iter().map(|entry| entry.name).chain([Flume::NAME]).collect();
        match self.only.iter().flatten().find(|name| !names.contains(&name.as_str())) {
            Some(name) => Err(format!("--only {name}: one of {}", names.join(", ")).into()),
            None => Ok(()),
        }
    }

    fn peers(&self) -> impl Iterator<Item = &'static Entry> {
        let only = self.only.as_ref();
        PEERS
            .iter()
            .filter(move |entry| only.is_none_or(|only| only.iter().any(|name| name == entry.name)))
    }
}

fn measure_all(plan: &Plan, base: &Path) -> Answer<()> {
    let mut all = Vec::new();
    for work in &plan.works {
        if !plan.json {
            report::print_header(*work, plan.event_bytes);
        }
        for shape in &plan.cells {
            // One directory for each cell: what it wrote is gone when the next begins.
            let dir = tempfile::tempdir_in(base)?;
            for row in measure::cell(plan, *work, *shape, dir.path())? {
                if !plan.json {
                    report::print_row(&row, plan.event_bytes);
                }
                all.push(row);
            }
        }
    }
    if plan.json {
        let rows: Vec<_> = all.iter().map(|row| report::as_json(row, plan.event_bytes)).collect();
        println!("{}", serde_json::json!({"schema": "fchannel.rivals/1", "rows": rows}));
    }
    if let Some(path) = &plan.plot {
        std::fs::write(path, plot::svg(&all, plan.event_bytes))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn main() -> Answer<()> {
    let Some(plan) = Plan::from_arguments()? else {
        print!("{}", include_str!("usage.txt"));
        return Ok(());
    };
    if let Some(name) = &plan.alone {
        return strace::alone(name, &plan.dir, plan.event_bytes);
    }
    let base =
        std::env::var_os("FCHANNEL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&base)?;
    if plan.strace { strace::run(&plan, &base) } else { measure_all(&plan, &base) }
}
