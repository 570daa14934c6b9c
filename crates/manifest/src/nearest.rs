//! "Did you mean": the known word that is nearest to an unknown one.

/// The candidate that differs from `word` in the fewest letters, if those are few enough for a slip of the hand: one, and
/// one more for every third letter. A letter added, left out, exchanged, or swapped with its neighbour counts one; case counts nothing.
pub fn nearest<'word>(word: &str, candidates: impl IntoIterator<Item = &'word str>) -> Option<&'word str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let limit = 1 + word.len() / 3;
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase().chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, _)| *distance <= limit.min(word.len().saturating_sub(1)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(left: &[char], right: &[char]) -> usize {
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=right.len()).collect();
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let changed = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let methods = ["GET", "POST", "PUT", "DELETE", "PATCH"];
        let check = |word: &str, expected: Option<&str>| assert_eq!(nearest(word, methods), expected, "{word}");
        check("PTACH", Some("PATCH"));
        check("pots", Some("POST"));
        check("DELTE", Some("DELETE"));
        check("OPTIONS", None);
        check("", None);
        check("x", None);
    }
}
