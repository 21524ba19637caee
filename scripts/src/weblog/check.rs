//! What was logged against what was delivered.
//!
//! - Every line of every log is in the output.
//! - Once re-deliveries are taken out, the lines of each log stand in its order. Between two logs there is no order: the server may
//!   still write to the old one while the new one begins.
//! - A line may come twice only if its sink was killed between writing and committing it. The sink begins a file in each life, so doubled
//!   lines stand at the start of a file, in one run, no longer than one transaction, and repeat the last lines before the kill in order.
//! - A kill may cut the last line of a file. It is set aside and counted; the whole line must come later.

use crate::shell::Answer;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, fs,
    path::{Path, PathBuf},
};

/// The lines of all logs, and where each stands: which log, which line of it.
pub(crate) struct Logged {
    places: HashMap<Vec<u8>, (usize, usize)>,
    /// Lines that are not unique prove nothing.
    twins: usize,
}

impl Logged {
    pub(crate) fn read(files: &[PathBuf]) -> Answer<Self> {
        Ok(Self::of(files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?))
    }

    fn of(logs: Vec<Vec<u8>>) -> Self {
        let mut logged = Self { places: HashMap::new(), twins: 0 };
        for (log, bytes) in logs.iter().enumerate() {
            for (line, content) in whole_lines(bytes).0.into_iter().enumerate() {
                if logged.places.insert(content.to_vec(), (log, line)).is_some() {
                    logged.twins += 1;
                }
            }
        }
        logged
    }
}

/// The output, a file for each life of the sink, in their order.
pub(crate) struct Delivered {
    files: Vec<Vec<u8>>,
}

impl Delivered {
    pub(crate) fn read(files: &[PathBuf]) -> Answer<Self> {
        let mut files = files.to_vec();
        files.sort_by_key(|path| order_of(path));
        Ok(Self { files: files.iter().map(fs::read).collect::<Result<_, _>>()? })
    }

    /// How many logged lines are not there.
    pub(crate) fn lacks(&self, logged: &Logged) -> usize {
        let there: HashSet<&[u8]> =
            self.files.iter().flat_map(|file| whole_lines(file).0).collect();
        logged.places.keys().filter(|line| !there.contains(line.as_slice())).count()
    }
}

/// `<start in ms>-<n>`: by numbers, not by letters.
fn order_of(path: &Path) -> Vec<u64> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(['-', '.']).map(|number| number.parse().unwrap_or(u64::MAX)).collect()
}

/// The lines that end, and what stands behind the last end.
fn whole_lines(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    (lines, rest)
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    logged: usize,
    delivered: usize,
    twins: usize,
    missing: usize,
    unknown: usize,
    out_of_order: usize,
    doubled: usize,
    /// Doubled where no kill explains it.
    doubled_wrongly: usize,
    longest_run: usize,
    cut: usize,
}

impl Verdict {
    pub(crate) fn holds(&self) -> bool {
        let broken =
            [self.twins, self.missing, self.unknown, self.out_of_order, self.doubled_wrongly];
        self.logged > 0 && broken.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| lines in the access logs | {} |", self.logged)?;
        writeln!(f, "| lines delivered, each counted once | {} |", self.delivered)?;
        writeln!(f, "| **lines lost** | **{}** |", self.missing)?;
        writeln!(f, "| lines out of order | {} |", self.out_of_order)?;
        writeln!(f, "| lines nobody logged | {} |", self.unknown)?;
        writeln!(f, "| lines logged twice, which prove nothing | {} |", self.twins)?;
        writeln!(
            f,
            "| lines doubled by a kill (longest run: {}) | {} |",
            self.longest_run, self.doubled
        )?;
        writeln!(f, "| lines doubled without one | {} |", self.doubled_wrongly)?;
        write!(f, "| half lines set aside | {} |", self.cut)
    }
}

/// Holds `delivered` against `logged`; a transaction of the sink has `batch` events at most.
pub(crate) fn judge(logged: &Logged, delivered: &Delivered, batch: usize) -> Verdict {
    let mut verdict =
        Verdict { logged: logged.places.len(), twins: logged.twins, ..Verdict::default() };
    // Lines in the order of their first delivery, and at which place each of them is.
    let mut first: Vec<&[u8]> = Vec::new();
    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    let mut last_of_log: BTreeMap<usize, usize> = BTreeMap::new();
    for file in &delivered.files {
        let (lines, rest) = whole_lines(file);
        verdict.cut += usize::from(!rest.is_empty());
        let run = lines.iter().take_while(|line| seen.contains_key(*line)).count();
        if run > 0 {
            verdict.doubled += run;
            verdict.longest_run = verdict.longest_run.max(run);
            let places: Vec<usize> =
                lines.iter().take(run).filter_map(|line| seen.get(line).copied()).collect();
            if !is_last_transaction(&places, first.len(), batch, run == lines.len()) {
                verdict.doubled_wrongly += run;
            }
        }
        for line in lines.into_iter().skip(run) {
            let Some((log, number)) = logged.places.get(line) else {
                verdict.unknown += 1;
                continue;
            };
            if seen.contains_key(line) {
                verdict.doubled += 1;
                verdict.doubled_wrongly += 1;
                continue;
            }
            seen.insert(line, first.len());
            first.push(line);
            if last_of_log.insert(*log, *number).is_some_and(|last| last >= *number) {
                verdict.out_of_order += 1;
            }
        }
    }
    verdict.delivered = first.len();
    verdict.missing = verdict.logged - verdict.delivered;
    verdict
}

/// True if `places` follow each other, lie within the last transaction before the kill, and reach its end: unless the next kill came
/// first, and they are all that was written in that life.
fn is_last_transaction(places: &[usize], end: usize, batch: usize, killed_again: bool) -> bool {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return true };
    let dense = places.windows(2).all(|pair| matches!(pair, [left, right] if left + 1 == *right));
    dense && first + batch >= end && (last + 1 == end || killed_again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: impl IntoIterator<Item = u32>) -> Vec<u8> {
        lines.into_iter().flat_map(|line| format!("line {line}\n").into_bytes()).collect()
    }

    fn judged(logs: Vec<Vec<u8>>, files: Vec<Vec<u8>>) -> Verdict {
        judge(&Logged::of(logs), &Delivered { files }, 3)
    }

    #[test]
    fn all_lines_once_in_order_is_what_is_promised() {
        let verdict = judged(vec![text(0..10), text(10..20)], vec![text(0..7), text(7..20)]);
        assert!(verdict.holds(), "{verdict:?}");
        assert_eq!((verdict.logged, verdict.delivered, verdict.doubled), (20, 20, 0));
    }

    #[test]
    fn a_lost_line_is_found() {
        let verdict = judged(vec![text(0..10)], vec![text(0..4), text(5..10)]);
        assert_eq!(verdict.missing, 1);
        assert!(!verdict.holds());
    }

    #[test]
    fn order_is_that_of_each_log_and_of_no_two() {
        assert_eq!(judged(vec![text(0..6)], vec![text([0, 1, 3, 2, 4, 5])]).out_of_order, 1);
        assert!(judged(vec![text(0..3), text(3..6)], vec![text([0, 1, 3, 2, 4, 5])]).holds());
    }

    #[test]
    fn doubles_are_the_last_transaction_at_the_start_of_a_life() {
        assert!(judged(vec![text(0..9)], vec![text(0..5), text(2..9)]).holds(), "three, the batch");
        assert_eq!(
            judged(vec![text(0..9)], vec![text(0..5), text(1..9)]).doubled_wrongly,
            4,
            "four"
        );
        assert_eq!(
            judged(vec![text(0..9)], vec![text(0..5), text([1, 2, 5, 6, 7, 8])]).doubled_wrongly,
            2,
            "not the last"
        );
        assert_eq!(
            judged(vec![text(0..9)], vec![text([0, 1, 2, 3, 4, 5, 4, 6, 7, 8])]).doubled_wrongly,
            1,
            "no kill"
        );
        assert!(
            judged(vec![text(0..9)], vec![text(0..5), text(3..5), Vec::new(), text(3..9)]).holds(),
            "killed twice"
        );
        assert!(
            judged(vec![text(0..9)], vec![text(0..5), text(2..4), text(2..9)]).holds(),
            "the second time half-way"
        );
    }

    #[test]
    fn a_half_line_is_set_aside_and_must_come_whole() {
        let mut cut = text(0..4);
        cut.extend_from_slice(b"line");
        let verdict = judged(vec![text(0..6)], vec![cut.clone(), text(4..6)]);
        assert!(verdict.holds() && verdict.cut == 1, "{verdict:?}");
        assert_eq!(judged(vec![text(0..6)], vec![cut, text(5..6)]).missing, 1);
    }

    #[test]
    fn what_nobody_logged_and_twins_are_found() {
        assert_eq!(judged(vec![text(0..3)], vec![text(0..4)]).unknown, 1);
        assert_eq!(judged(vec![text([0, 1, 1])], vec![text(0..2)]).twins, 1);
        assert!(!judged(vec![], vec![]).holds(), "nothing proves nothing");
    }

    #[test]
    fn files_are_ordered_by_their_numbers() {
        let mut names = ["1800-10", "1800-9", "900-1"].map(PathBuf::from);
        names.sort_by_key(|path| order_of(path));
        assert_eq!(names, ["900-1", "1800-9", "1800-10"].map(PathBuf::from));
    }
}
