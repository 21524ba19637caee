//! Rows for people: as they come, and as they stand in docs/PERFORMANCE.md.

use crate::{
    figures::Figures,
    measure::{Work, count},
};

/// Rows below each other, under a header for each work and size of events.
#[derive(Default)]
pub(crate) struct Table(Option<(Work, usize)>);

impl Table {
    pub(crate) fn print(&mut self, row: &Figures) {
        if self.0.replace((row.work, row.event_bytes)) != Some((row.work, row.event_bytes)) {
            print_header(row.work, row.event_bytes);
        }
        let latency = |us: Option<u32>| us.map_or_else(|| "-".to_owned(), |us| us.to_string());
        println!(
            "| {:>4} x {:<2} | {:<18} | {:>9.0} | {:>6.1} | {:>18} | {}{} | {:>6} / {:<6} |",
            row.shape.batch,
            row.shape.committers,
            row.peer,
            row.events_per_s.median,
            row.events_per_s.median * count(row.event_bytes) / 1e6,
            row.ratio.to_string(),
            row.rounds,
            if row.disturbed > 0 {
                format!(" of {}", row.rounds + row.disturbed)
            } else {
                String::new()
            },
            latency(row.p50_us),
            latency(row.p99_us),
        );
    }
}

fn print_header(work: Work, event_bytes: usize) {
    println!(
        "\n{work}, events of {event_bytes} bytes, durable when it returns: {}\n",
        match work {
            Work::Put => "the backlog only grows, and so do the files",
            Work::Steady =>
                "between two slices, uncounted, each peer gives back what it holds, so that its files are used again as in normal life",
            Work::Take => "a backlog is taken for good; the floor appends as many bytes",
            Work::PutTake =>
                "so many putters and one taker, from the first put to the last take; the floor appends as many bytes",
        }
    );
    println!(
        "| {work}: batch x threads | peer | events/s | MB/s | times the floor (min-max) | rounds | p50 / p99 us |"
    );
    println!("|---|---|---|---|---|---|---|");
}

/// A line for each cell, a column for each peer: times the floor with its spread, and events a second. The greatest ratio is bold.
pub(crate) fn markdown(rows: &[Figures]) -> String {
    let peers = names(rows);
    let mut text = format!("| work, bytes | batch x committers | {} |\n", peers.join(" | "));
    text += &format!("|---|---|{}\n", "---|".repeat(peers.len()));
    for cell in cells(rows) {
        let first =
            cell.first().map(|row| format!("{} {} | {}", row.work, row.event_bytes, row.shape));
        text += &format!("| {} |", first.unwrap_or_default());
        let best = cell.iter().map(|row| row.ratio.median).fold(0.0, f64::max);
        for peer in &peers {
            let figures = cell.iter().find(|row| row.peer == *peer && row.rounds > 0);
            text += &figures.map_or_else(
                || " - |".to_owned(),
                |row| {
                    let events = with_commas(row.events_per_s.median);
                    let mark = if row.ratio.median >= best { "**" } else { "" };
                    format!(" {mark}{}{mark}; {events} |", row.ratio)
                },
            );
        }
        text.push('\n');
    }
    text
}

/// The peers, in the order in which they first come.
pub(crate) fn names(rows: &[Figures]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.peer.as_str()) {
            names.push(&row.peer);
        }
    }
    names
}

/// The rows of each cell, wherever they stand, in the order in which the cells first come.
pub(crate) fn cells(rows: &[Figures]) -> Vec<Vec<&Figures>> {
    let mut cells: Vec<Vec<&Figures>> = Vec::new();
    for row in rows {
        let key = |row: &Figures| (row.work, row.event_bytes, row.shape);
        match cells.iter_mut().find(|cell| cell.first().is_some_and(|first| key(first) == key(row)))
        {
            Some(cell) => cell.push(row),
            None => cells.push(vec![row]),
        }
    }
    cells
}

fn with_commas(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::example;

    #[test]
    fn a_cell_is_a_line_and_who_is_ahead_is_bold() {
        let rows = [
            example("a", 1, [1.0, 2.0, 3.0]),
            example("a", 100, [1.0; 3]),
            example("b", 1, [4.0; 3]),
        ];
        assert_eq!(
            markdown(&rows),
            "| work, bytes | batch x committers | a | b |\n|---|---|---|---|\n\
             | put 500 | 1x1 | 2.00 (1.00-3.00); 2,000 | **4.00 (4.00-4.00)**; 4,000 |\n\
             | put 500 | 100x1 | **1.00 (1.00-1.00)**; 1,000 | - |\n"
        );
        assert_eq!(with_commas(1_234_567.4), "1,234,567");
    }
}
