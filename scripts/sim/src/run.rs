//! Runs one seed: its history, or one history for each operation; and makes a failing one small.

use crate::{
    history::{Attempt, Class, End, Ending, History, Plan, Step},
    model::Check,
    queue::Queue,
    seen::Seen,
    wal::Log,
};
use fchannel::io::sim::{Fault, Rng, SimVfs};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

/// How a history failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) history: History,
    pub(crate) disk_salt: u64,
    pub(crate) what: String,
}

/// Runs all histories of a seed.
pub(crate) fn run_seed(seed: u64, seen: &mut Seen) -> Result<(), Box<Failure>> {
    let history = History::of(seed);
    *seen.classes.entry(history.class).or_default() += 1;
    if history.class == Class::EachOperation {
        return each_operation(&history, seen);
    }
    run(&history, 0, seen).map(drop)
}

/// Once undisturbed, to count its operations, and then once for each of them.
fn each_operation(history: &History, seen: &mut Seen) -> Result<(), Box<Failure>> {
    let (operations, reads) = run(history, 0, seen)?;
    let mut rng = Rng::new(history.disk_seed);
    let fault = match rng.below(10) {
        0..7 => Fault::Crash,
        7..9 => Fault::Error,
        _ => Fault::NoSpace,
    };
    let plans = (1..=operations).map(|at| Plan::Fault(at, fault));
    let looks = (1..=reads.min(40)).map(Plan::ReadError);
    for plan in plans.chain(looks.filter(|_| fault == Fault::Error)) {
        let end = if rng.chance(60) { End::PowerCut } else { End::Kill };
        let attempts = (0..rng.below(3)).map(|_| Attempt {
            plan: Plan::Fault(1 + rng.below(24), Fault::Crash),
            end: if rng.chance(50) { End::PowerCut } else { End::Kill },
        });
        let ending = Ending { end, attempts: attempts.collect() };
        let mut variant = history.clone();
        variant.steps.insert(0, Step::Plan { plan, ending });
        run(&variant, 0, seen)?;
    }
    Ok(())
}

/// Runs one history; answers the operations and looks of its disk.
pub(crate) fn run(
    history: &History,
    disk_salt: u64,
    seen: &mut Seen,
) -> Result<(u64, u64), Box<Failure>> {
    play(history, disk_salt, seen, false).0
}

/// The last operations of a history that fails.
pub(crate) fn trace(history: &History, disk_salt: u64) -> Vec<String> {
    play(history, disk_salt, &mut Seen::default(), true).1
}

type Played = (Result<(u64, u64), Box<Failure>>, Vec<String>);

fn play(history: &History, disk_salt: u64, seen: &mut Seen, trace: bool) -> Played {
    seen.runs += 1;
    let mut disk: Option<SimVfs> = None;
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let mut begin = |world: &SimVfs| {
            if trace {
                world.set_trace();
            }
            disk = Some(world.clone());
        };
        if history.class == Class::Wal {
            let mut log = Log::new(history, disk_salt, seen);
            begin(log.disk());
            log.run()
        } else {
            let mut queue = Queue::new(history, disk_salt, seen);
            begin(queue.disk());
            queue.run()
        }
    }));
    let answer: Check =
        answer.unwrap_or_else(|_| Err(format!("it panicked: {}", crate::panics::last())));
    let Some(disk) = disk else { return (Ok((0, 0)), Vec::new()) };
    seen.tally.add(&disk.tally());
    let answer = answer
        .map(|()| (disk.operations(), disk.reads()))
        .map_err(|what| Box::new(Failure { history: history.clone(), disk_salt, what }));
    (answer, disk.trace())
}

/// How long a failing history is made smaller.
const SHRINK_TIME: Duration = Duration::from_secs(10);
/// With a step less the chance of the disk falls otherwise: so many tries for each candidate.
const SALTS: u64 = 12;

/// A history that fails too, as small as can be found in short time.
pub(crate) fn shrink(mut failure: Box<Failure>) -> Box<Failure> {
    let deadline = Instant::now() + SHRINK_TIME;
    let fails = |history: &History, first_salt: u64| {
        let salts = std::iter::once(first_salt).chain(1..SALTS);
        salts.map(|salt| run(history, salt, &mut Seen::default())).find_map(Result::err)
    };
    // Halves, quarters, single steps; then each step by itself, smaller.
    let mut len = failure.history.steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut any = false;
        while at < failure.history.steps.len() && Instant::now() < deadline {
            let mut smaller = failure.history.clone();
            let end = smaller.steps.len().min(at + len);
            smaller.steps.drain(at..end);
            match fails(&smaller, failure.disk_salt) {
                Some(found) => (failure, any) = (found, true),
                None => at += len,
            }
        }
        if Instant::now() >= deadline || (len == 1 && !any) {
            break;
        }
        len = if any { len } else { (len / 2).max(1) };
    }
    let mut at = 0;
    while at < failure.history.steps.len() && Instant::now() < deadline {
        let candidates = failure.history.steps.get(at).map(smaller_steps).unwrap_or_default();
        let found = candidates.into_iter().find_map(|step| {
            let mut smaller = failure.history.clone();
            *smaller.steps.get_mut(at)? = step;
            fails(&smaller, failure.disk_salt)
        });
        match found {
            Some(found) => failure = found,
            None => at += 1,
        }
    }
    failure
}

/// The same step with less in it.
fn smaller_steps(step: &Step) -> Vec<Step> {
    let fewer = |attempts: &[Attempt]| -> Vec<Vec<Attempt>> {
        let without = |at: usize| {
            let mut attempts = attempts.to_vec();
            attempts.remove(at);
            attempts
        };
        (0..attempts.len()).map(without).collect()
    };
    match step {
        Step::Put { events, mark, fate } => {
            let put = |events: Vec<u32>, mark| Step::Put { events, mark, fate: *fate };
            let mut found = Vec::new();
            if events.len() > 1 {
                found.push(put(events.iter().take(events.len() / 2).copied().collect(), *mark));
                found.push(put(events.iter().skip(1).copied().collect(), *mark));
            }
            if mark.is_some() {
                found.push(put(events.clone(), None));
            }
            if events.iter().any(|len| *len > 10) {
                found.push(put(events.iter().map(|_| 10).collect(), *mark));
                found.push(put(
                    events.iter().map(|len| if *len > 20 { len / 2 } else { *len }).collect(),
                    *mark,
                ));
            }
            found
        }
        Step::Take { events, keep, fate } => {
            let mut found = Vec::new();
            if keep.is_some() {
                found.push(Step::Take { events: *events, keep: None, fate: *fate });
            }
            if *events > 1 {
                found.push(Step::Take { events: events / 2, keep: *keep, fate: *fate });
            }
            found
        }
        Step::Checkpoint { meanwhile: Some(_) } => vec![Step::Checkpoint { meanwhile: None }],
        Step::Plan { plan, ending } => {
            let mut found: Vec<Step> = fewer(&ending.attempts)
                .into_iter()
                .map(|attempts| Step::Plan {
                    plan: *plan,
                    ending: Ending { attempts, ..ending.clone() },
                })
                .collect();
            if let Plan::Fault(after, fault) = plan
                && *after > 1
            {
                let plan = Plan::Fault(after - 1, *fault);
                found.push(Step::Plan { plan, ending: ending.clone() });
            }
            found
        }
        Step::Reopen { leave, attempts, changes } => {
            let mut found: Vec<Step> = fewer(attempts)
                .into_iter()
                .map(|attempts| Step::Reopen { leave: *leave, attempts, changes: changes.clone() })
                .collect();
            if !changes.is_empty() {
                found.push(Step::Reopen {
                    leave: *leave,
                    attempts: attempts.clone(),
                    changes: Vec::new(),
                });
            }
            found
        }
        _ => Vec::new(),
    }
}
