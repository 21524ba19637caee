//! `cargo x sim`: seeded histories with crashes, on a simulated disk, against a model; and the same against an engine with a planted bug.

mod build;
mod plants;

use crate::shell::{Answer, Arguments};
use fchannel_sim::Order;
use plants::{PLANTS, Plant};
use std::time::Instant;

pub(crate) use build::{stale_plants, stale_table};

pub(crate) fn run(arguments: &Arguments) -> Answer<()> {
    if arguments.has("--plants") {
        for plant in PLANTS {
            println!("{:<38} {}", plant.name, plant.rule);
        }
        return Ok(());
    }
    let name = match arguments.values("--plant").next() {
        None => return Ok(fchannel_sim::run(&Order::from_words(arguments.words())?)?),
        Some(name) => name,
    };
    let plants: Vec<&Plant> =
        PLANTS.iter().filter(|plant| name == "all" || plant.name == name).collect();
    if plants.is_empty() {
        return Err(format!("--plant {name}: cargo x sim --plants lists them").into());
    }
    let words = arguments.words();
    let limits = words.iter().zip(words.iter().skip(1)).filter(|(word, _)| *word != "--plant");
    let limits = limits.filter(|(word, _)| word.starts_with("--"));
    let limits: Vec<String> =
        limits.flat_map(|(word, value)| [word.clone(), value.clone()]).collect();
    catch(&plants, &limits)
}

/// For continuous integration: some seeds, and some plants.
pub(crate) fn quick() -> Answer<()> {
    const SECONDS: u64 = 40;
    const PLANTED: [&str; 4] =
        ["sync-again", "salt-from-the-id", "list-without-a-sync", "scan-from-the-start"];
    let mut order = Order::from_words(&[])?;
    order.seeds = 1_000_000;
    order.time_max = Some(std::time::Duration::from_secs(SECONDS));
    fchannel_sim::run(&order)?;
    let some = PLANTS.iter().filter(|plant| PLANTED.contains(&plant.name));
    catch(&some.collect::<Vec<_>>(), &[])
}

/// Builds the engine with each of them, and sees the simulation fail.
fn catch(plants: &[&Plant], limits: &[String]) -> Answer<()> {
    let mut missed = Vec::new();
    for plant in plants {
        let built = Instant::now();
        let program = build::build(plant)?;
        let built_s = built.elapsed().as_secs();
        let ran = Instant::now();
        let caught = build::fails(&program, limits)?;
        let ran_s = ran.elapsed().as_secs_f64();
        let told = match &caught {
            Some(how) => format!("caught in {ran_s:.1} s: {how}"),
            None => format!("NOT CAUGHT in {ran_s:.0} s: {}", plant.rule),
        };
        println!("{:<38} built in {built_s} s, {told}", plant.name);
        if caught.is_none() {
            missed.push(plant.name);
        }
    }
    println!("plants: {} of {} caught", plants.len() - missed.len(), plants.len());
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("no history sees these bugs: {}", missed.join(", ")).into())
    }
}
