//! Splits a Rust file into code and comments, and knows which lines are tests.
//!
//! Far less than a parser: literals and comments are recognised, everything
//! else is text. That is enough for rules about words, and can't fail on code
//! that a compiler newer than a parser would accept.

use super::Finding;
use super::repo::File;

/// What a line belongs to. Tests have other rules than the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Product,
    Test,
    Bench,
}

pub(super) struct Source<'a> {
    pub(super) file: &'a File,
    /// The lines with comments and the text of literals blanked.
    pub(super) code: Vec<String>,
    /// The lines with everything but comments blanked.
    pub(super) comments: Vec<String>,
    /// For each line.
    pub(super) part: Vec<Part>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a File) -> Self {
        let (code, comments) = split(&file.text);
        let code: Vec<String> = code.lines().map(str::to_owned).collect();
        let comments = comments.lines().map(str::to_owned).collect();
        let part = parts(&file.path, &code);
        Self {
            file,
            code,
            comments,
            part,
        }
    }

    /// A finding in this file; `index` counts lines from 0.
    pub(super) fn finding(
        &self,
        index: usize,
        rule: &'static str,
        what: impl Into<String>,
    ) -> Finding {
        Finding::new(&self.file.path, index + 1, rule, what)
    }

    /// Takes out findings that a comment allows, and adds what is wrong with
    /// such comments.
    pub(super) fn without_allowed(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        for (index, comment) in self.comments.iter().enumerate() {
            let Some((_, allowed)) = comment.split_once("// tidy: allow(") else {
                continue;
            };
            let (rule, reason) = allowed.split_once(')').unwrap_or((allowed, ""));
            if reason.trim_matches([':', ' ']).is_empty() {
                findings.push(self.finding(
                    index,
                    "allow",
                    "an exception without a reason; write `): ` and why",
                ));
                continue;
            }
            let target = self.code_line_from(index) + 1;
            let before = findings.len();
            findings.retain(|it| !(it.rule == rule && it.line == target));
            if findings.len() == before {
                let what = format!("an exception from `{rule}` that nothing needs; delete it");
                findings.push(self.finding(index, "allow", what));
            }
        }
        findings
    }

    /// The first line with code at or below `index`.
    fn code_line_from(&self, index: usize) -> usize {
        let below = self
            .code
            .iter()
            .skip(index)
            .position(|it| !it.trim().is_empty());
        below.map_or(index, |it| index + it)
    }
}

fn parts(path: &str, code: &[String]) -> Vec<Part> {
    let inside = |folder: &str| {
        path.starts_with(&format!("{folder}/")) || path.contains(&format!("/{folder}/"))
    };
    if inside("benches") {
        return vec![Part::Bench; code.len()];
    }
    if inside("tests") || path.ends_with("/tests.rs") {
        return vec![Part::Test; code.len()];
    }
    let mut part = vec![Part::Product; code.len()];
    let mut at = 0;
    while at < code.len() {
        let end = test_module_end(code, at).unwrap_or(at);
        part[at..end].fill(Part::Test);
        at = end.max(at + 1);
    }
    part
}

/// The line after the module of tests that begins at line `begin`, if one does.
fn test_module_end(code: &[String], begin: usize) -> Option<usize> {
    if code[begin].trim() != "#[cfg(test)]" {
        return None;
    }
    let mut depth = 0_usize;
    for (index, line) in code.iter().enumerate().skip(begin + 1) {
        let item = !line.trim().is_empty() && !line.trim().starts_with("#[");
        if depth == 0 && item && !(line.trim().starts_with("mod ") && line.contains('{')) {
            return None;
        }
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return Some(index + 1),
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    Some(code.len())
}

/// The text twice, with the same lines: code only, and comments only.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let comment = comment_end(&chars, at);
        let literal = || text_literal_end(&chars, at).or_else(|| char_literal_end(&chars, at));
        let (is_comment, is_code, end) = match comment {
            Some(end) => (true, false, end),
            None => literal().map_or((false, true, at + 1), |end| (false, false, end)),
        };
        for &c in &chars[at..end] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if is_code { c } else { blank });
            comments.push(if is_comment { c } else { blank });
        }
        at = end;
    }
    (code, comments)
}

fn comment_end(chars: &[char], begin: usize) -> Option<usize> {
    match (chars[begin], chars.get(begin + 1)?) {
        ('/', '/') => {
            let length = chars[begin..].iter().position(|it| *it == '\n');
            Some(length.map_or(chars.len(), |it| begin + it))
        }
        ('/', '*') => {
            let (mut depth, mut at) = (1, begin + 2);
            while depth > 0 && at < chars.len() {
                match (chars[at], chars.get(at + 1)) {
                    ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
                    ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
                    _ => at += 1,
                }
            }
            Some(at)
        }
        _ => None,
    }
}

/// `"…"`, `b"…"`, `c"…"`, and raw ones with any number of `#`.
fn text_literal_end(chars: &[char], begin: usize) -> Option<usize> {
    let is = |at: usize, c: char| chars.get(at) == Some(&c);
    let mut at = begin;
    if is(at, 'b') || is(at, 'c') {
        at += 1;
    }
    let raw = is(at, 'r');
    at += usize::from(raw);
    let quote = (at..chars.len())
        .find(|it| !(raw && is(*it, '#')))
        .filter(|it| is(*it, '"'))?;
    let inside_a_word =
        begin > 0 && (chars[begin - 1].is_alphanumeric() || chars[begin - 1] == '_');
    if quote > begin && inside_a_word {
        return None;
    }
    let hashes = quote - at;
    let mut at = quote + 1;
    while at < chars.len() {
        if chars[at] == '"' && (at + 1..=at + hashes).all(|it| is(it, '#')) {
            return Some(at + 1 + hashes);
        }
        at += if chars[at] == '\\' && !raw { 2 } else { 1 };
    }
    Some(chars.len())
}

/// `'x'` or `'\n'`; not a lifetime.
fn char_literal_end(chars: &[char], begin: usize) -> Option<usize> {
    if chars[begin] != '\'' {
        return None;
    }
    if chars.get(begin + 1) == Some(&'\\') {
        let closing = chars.iter().skip(begin + 3).position(|it| *it == '\'')?;
        return Some(begin + 3 + closing + 1);
    }
    (chars.get(begin + 2) == Some(&'\'')).then_some(begin + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_split(text: &str, code: &str, comments: &str) {
        assert_eq!(split(text), (code.to_owned(), comments.to_owned()));
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        check_split("a(); // b", "a();     ", "     // b");
        check_split(
            "a /* b /* c */ d\n*/ e",
            "a               \n   e",
            "  /* b /* c */ d\n*/  ",
        );
        check_split(r#"a("// \" b") c"#, "a(         ) c", "              ");
        check_split(
            "r#\"a\"b\"# c b\"d\" r#type",
            "         c      r#type",
            &" ".repeat(22),
        );
        check_split(
            "f::<'a>('\"', '\\'', b'x')",
            "f::<'a>(   ,     , b   )",
            &" ".repeat(24),
        );
    }

    #[test]
    fn text_that_never_ends_is_taken_to_the_end() {
        check_split("a \"b", "a   ", "    ");
        check_split("a \"b\\", "a    ", "     ");
        check_split("a /* b", "a     ", "  /* b");
    }

    #[test]
    fn only_the_module_of_tests_is_test() {
        let text = "a\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n  { \"}\" }\n}\nb\n";
        let file = File::new("crates/x/src/lib.rs", text);
        let source = Source::new(&file);
        use Part::{Product, Test};
        assert_eq!(
            source.part,
            [Product, Test, Test, Test, Test, Test, Product]
        );
    }

    #[test]
    fn a_test_only_import_does_not_hide_what_follows() {
        let file = File::new(
            "crates/x/src/lib.rs",
            "#[cfg(test)]\nuse a::b;\nfn c() {}\n",
        );
        assert_eq!(Source::new(&file).part, [Part::Product; 3]);
    }

    #[test]
    fn folders_decide_before_the_text() {
        let file = File::new("crates/x/tests/it/main.rs", "a\n");
        assert_eq!(Source::new(&file).part, [Part::Test]);
        let file = File::new("benches/src/main.rs", "a\n");
        assert_eq!(Source::new(&file).part, [Part::Bench]);
    }

    #[track_caller]
    fn check_allowed(text: &str, wanted: &[(usize, &str)]) {
        let file = File::new("a.rs", text);
        let source = Source::new(&file);
        let bad = source
            .code
            .iter()
            .enumerate()
            .filter(|it| it.1.contains("bad"));
        let findings = bad
            .map(|(index, _)| source.finding(index, "word", "bad"))
            .collect();
        let left = source.without_allowed(findings);
        let left: Vec<(usize, &str)> = left.iter().map(|it| (it.line, it.rule)).collect();
        assert_eq!(left, wanted);
    }

    #[test]
    fn a_comment_with_a_reason_takes_out_one_line() {
        check_allowed(
            "// tidy: allow(word): because\n// of this\nbad\nbad",
            &[(4, "word")],
        );
        check_allowed("bad // tidy: allow(word): because", &[]);
    }

    #[test]
    fn an_exception_without_reason_or_need_is_a_finding() {
        check_allowed("bad // tidy: allow(word)", &[(1, "word"), (1, "allow")]);
        check_allowed("good // tidy: allow(word): because", &[(1, "allow")]);
        check_allowed(
            "bad // tidy: allow(other): because",
            &[(1, "word"), (1, "allow")],
        );
    }
}
