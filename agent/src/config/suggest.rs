//! "Did you mean": the nearest of the names there are.

/// Longer names are not compared: nobody mistypes them by a letter.
const CHARS_MAX: usize = 48;
/// More candidates than this are not looked at.
const CANDIDATES_MAX: usize = 512;

/// The candidate nearest to `name`, if it is near: another case, or a third of its letters wrong at most.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> =
        name.chars().take(CHARS_MAX + 1).map(|c| c.to_ascii_lowercase()).collect();
    if name.is_empty() || name.len() > CHARS_MAX {
        return None;
    }
    let within = name.len().div_ceil(3).min(4);
    let rated = candidates.into_iter().take(CANDIDATES_MAX).filter_map(|candidate| {
        let letters: Vec<char> = candidate.chars().map(|c| c.to_ascii_lowercase()).collect();
        let near = letters.len().abs_diff(name.len()) <= within;
        let distance = if near { distance(&name, &letters) } else { usize::MAX };
        (distance <= within).then_some((distance, candidate))
    });
    rated.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        let keys = ["batchSize", "checkpointInterval", "capacity"];
        assert_eq!(nearest("checkpointIntervall", keys), Some("checkpointInterval"));
        assert_eq!(nearest("batchsize", keys), Some("batchSize"));
        assert_eq!(nearest("bathcSize", keys), Some("batchSize"));
        assert_eq!(nearest("hostname", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("tpye", ["type"]), Some("type"));
    }
}
