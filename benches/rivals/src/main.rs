//! The same durable work done by us, by rivals, and by the raw floor of the disk, alternated in one run: see `usage.txt`.

mod executor;
mod figures;
mod flume;
mod measure;
mod ours;
mod peers;
mod plan;
mod plot;
mod report;
mod strace;

use figures::Figures;
use peers::Answer;
use plan::{Form, Plan};
use std::path::{Path, PathBuf};

fn measure_all(plan: &Plan, base: &Path, mut tell: impl FnMut(&Figures)) -> Answer<Vec<Figures>> {
    let mut all = Vec::new();
    for cell in plan.all_cells()? {
        // One directory for each cell: what it wrote is gone when the next begins.
        let dir = tempfile::tempdir_in(base)?;
        for row in measure::cell(plan, cell, dir.path())? {
            tell(&row);
            all.push(row);
        }
    }
    Ok(all)
}

fn read_all(plan: &Plan, mut tell: impl FnMut(&Figures)) -> Answer<Vec<Figures>> {
    let mut all = Vec::new();
    for path in &plan.from {
        all.extend(figures::read(path)?.into_iter().filter(|row| plan.wants(row)));
    }
    all.iter().for_each(&mut tell);
    Ok(all)
}

fn main() -> Answer<()> {
    let Some(plan) = Plan::from_arguments(std::env::args().skip(1))? else {
        print!("{}", include_str!("usage.txt"));
        return Ok(());
    };
    if let Some(name) = &plan.alone {
        return strace::alone(&plan, name);
    }
    let base =
        std::env::var_os("FCHANNEL_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&base)?;
    if plan.strace {
        return strace::run(&plan, &base);
    }
    // Who draws what was read wants the picture.
    let is_drawn = !plan.from.is_empty() && plan.plot.is_some();
    let form = plan.form.or((!is_drawn).then_some(Form::Table));
    let mut table = report::Table::default();
    let tell = |row: &Figures| {
        if form == Some(Form::Table) {
            table.print(row);
        }
    };
    let rows = if plan.from.is_empty() {
        measure_all(&plan, &base, tell)?
    } else {
        read_all(&plan, tell)?
    };
    match form {
        None | Some(Form::Table) => {}
        Some(Form::Json) => print!("{}", figures::document(&rows)),
        Some(Form::Markdown) => print!("{}", report::markdown(&rows)),
    }
    if let Some(path) = &plan.plot {
        let picture = plot::svg(&rows, plan.plot_of, plan.title.as_deref());
        std::fs::write(path, picture).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
