//! "Did you mean …?": the word that was probably meant.

/// Edits between a word and the one that was meant.
const EDITS_MAX: usize = 2;

/// A shorter part is in too many names.
const PART_LETTERS_MIN: usize = 4;

/// Names that are offered: more aren't read.
const SEVERAL_MAX: usize = 3;

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

/// Up to [`SEVERAL_MAX`] of `words`, the closest first: those that hold the word, as a part of
/// a long name is easily left out, then those that are a slip away.
pub(crate) fn several_nearest<'a>(
    word: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> Vec<&'a str> {
    let word = word.to_ascii_lowercase();
    let mut found: Vec<(usize, &str)> = words
        .into_iter()
        .filter_map(|it| {
            let other = it.to_ascii_lowercase();
            if word.len() >= PART_LETTERS_MIN && other.contains(&word) {
                // What is left out counts less than what is wrong.
                return Some((other.len() - word.len(), it));
            }
            let edits = distance(&word, &other);
            let is_slip = edits <= EDITS_MAX.min(other.len() / 3);
            is_slip.then_some((edits, it))
        })
        .collect();
    found.sort_by_key(|(edits, _)| *edits);
    found.truncate(SEVERAL_MAX);
    found.into_iter().map(|(_, it)| it).collect()
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
    fn a_part_of_a_name_leads_to_the_names_that_hold_it() {
        let words = [
            "danube_jobs_total",
            "danube_job_timeouts_total",
            "master_down",
        ];
        for (word, expected) in [
            ("jobs_total", vec!["danube_jobs_total"]),
            (
                "total",
                vec!["danube_jobs_total", "danube_job_timeouts_total"],
            ),
            ("masterdown", vec!["master_down"]),
            ("tot", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(several_nearest(word, words), expected, "{word}");
        }
    }

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
