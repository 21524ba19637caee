//! A few seconds of the simulation: `cargo x sim` runs as many as one likes.

use fchannel_sim::{Order, run};

#[test]
fn no_history_breaks_a_promise() {
    let jobs = std::thread::available_parallelism().map_or(1, |jobs| jobs.get() as u64);
    run(&Order { from: 0, seeds: 400, jobs, time_max: None, quiet: true }).unwrap();
}
