//! The simulation by itself: `cargo x sim --plant` builds it against an engine with a planted bug.

use fchannel_sim::{Order, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Order::from_words(&words).and_then(|order| run(&order)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::FAILURE
        }
    }
}
