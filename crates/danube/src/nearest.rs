//! "Did you mean …?": the word that was probably meant.

/// Edits between a word and the one that was meant.
const EDITS_MAX: usize = 2;

/// The closest of `words`, when one is close.
pub(crate) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    words
        .into_iter()
        .map(|it| (distance(&word, &it.to_ascii_lowercase()), it))
        // Two edits of a short word make another word.
        .filter(|(edits, it)| *edits <= EDITS_MAX.min(it.len() / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, it)| it)
}

/// Insertions, deletions, changes and swaps of neighbours (restricted
/// Damerau-Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > EDITS_MAX {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let words = ["listen", "data_dir", "dir", "public_url"];
        for (word, expected) in [
            ("listne", Some("listen")),
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("datadir", Some("data_dir")),
            ("dr", Some("dir")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
