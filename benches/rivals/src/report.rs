//! Rows for people, and for programs.

use crate::measure::{Row, Work, count};
use serde_json::{Value, json};

pub(crate) fn print_header(work: Work, event_bytes: usize) {
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

pub(crate) fn print_row(row: &Row, event_bytes: usize) {
    let events = row.events_per_s().median;
    let latency = |thousandths| {
        row.latency_us(thousandths).map_or_else(|| "-".to_owned(), |us| us.to_string())
    };
    println!(
        "| {:>4} x {:<2} | {:<19} | {events:>9.0} | {:>6.1} | {:>18} | {}{} | {:>6} / {:<6} |",
        row.shape.batch,
        row.shape.committers,
        row.peer,
        events * count(event_bytes) / 1e6,
        row.ratio().to_string(),
        row.rounds.len(),
        if row.disturbed > 0 {
            format!(" of {}", row.rounds.len() + row.disturbed)
        } else {
            String::new()
        },
        latency(500),
        latency(990),
    );
}

pub(crate) fn as_json(row: &Row, event_bytes: usize) -> Value {
    let (events, ratio) = (row.events_per_s(), row.ratio());
    json!({
        "work": row.work.to_string(),
        "peer": row.peer,
        "batch": row.shape.batch,
        "committers": row.shape.committers,
        "event_bytes": event_bytes,
        "events_per_s": events.median,
        "events_per_s_min": events.min,
        "events_per_s_max": events.max,
        "ratio": ratio.median,
        "ratio_min": ratio.min,
        "ratio_max": ratio.max,
        "rounds": row.rounds.len(),
        "disturbed": row.disturbed,
        "p50_us": row.latency_us(500),
        "p99_us": row.latency_us(990),
    })
}
