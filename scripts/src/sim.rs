//! `cargo x sim`: seeded histories with crashes, on a simulated disk, against a model; and the same against an engine with a planted bug.

use crate::shell::{Answer, Arguments};
use fchannel_sim::Order;

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    Ok(fchannel_sim::run(&Order::from_words(arguments.words())?)?)
}
