//! As much of Markdown as our runbooks use, as values: what isn't known stays text.

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// A heading and its level.
    Head(u8, Vec<Inline>),
    /// A paragraph.
    Text(Vec<Inline>),
    /// Lines as they stand.
    Code(String),
    /// Items of a list.
    List(Vec<Vec<Inline>>),
    /// The head of a table and its rows.
    Table(Vec<Vec<Inline>>, Vec<Vec<Vec<Inline>>>),
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inline {
    /// Words.
    Text(String),
    /// Code.
    Code(String),
    /// Words that stand out.
    Strong(String),
    /// Words and where they lead.
    Link(String, String),
}

/// The parts of a page.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|it| *it != "```").collect();
            blocks.push(Block::Code(code.join("\n")));
            continue;
        }
        let mut all = vec![line];
        while let Some(next) = lines.next_if(|it| belongs(it)) {
            all.push(next);
        }
        blocks.extend(of_lines(&all));
    }
    blocks
}

/// Whether a line goes on with the part before it.
fn belongs(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("```") && !line.starts_with('#')
}

/// What lines without an empty one between them are.
fn of_lines(lines: &[&str]) -> Vec<Block> {
    let first = lines[0];
    let level = first.bytes().take_while(|it| *it == b'#').count();
    if (1..=6).contains(&level) && first[level..].starts_with(' ') {
        let level = u8::try_from(level).unwrap_or(6);
        let mut blocks = vec![Block::Head(
            level,
            words(first[usize::from(level)..].trim()),
        )];
        if lines.len() > 1 {
            blocks.extend(of_lines(&lines[1..]));
        }
        return blocks;
    }
    if first.starts_with('|') && lines.get(1).is_some_and(|it| it.starts_with("| -")) {
        let rows = lines[2..].iter().map(|it| cells(it)).collect();
        return vec![Block::Table(cells(first), rows)];
    }
    let begins = lines.iter().position(|it| it.starts_with("- "));
    let (text, items) = lines.split_at(begins.unwrap_or(lines.len()));
    let mut blocks = Vec::new();
    if !text.is_empty() {
        blocks.push(Block::Text(words(&text.join(" "))));
    }
    if !items.is_empty() {
        let mut all: Vec<String> = Vec::new();
        for line in items {
            match (line.strip_prefix("- "), all.last_mut()) {
                (None, Some(item)) => *item = format!("{item} {}", line.trim()),
                (item, _) => all.push(item.unwrap_or(line).to_owned()),
            }
        }
        blocks.push(Block::List(all.iter().map(|it| words(it)).collect()));
    }
    blocks
}

fn cells(line: &str) -> Vec<Vec<Inline>> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(|it| words(it.trim())).collect()
}

/// The parts of a line. What begins and doesn't end is text.
pub(crate) fn words(text: &str) -> Vec<Inline> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((part, after)) = marked(rest) else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            plain.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        };
        if !plain.is_empty() {
            parts.push(Inline::Text(std::mem::take(&mut plain)));
        }
        parts.push(part);
        rest = after;
    }
    if !plain.is_empty() {
        parts.push(Inline::Text(plain));
    }
    parts
}

/// What begins here and isn't plain text, and what comes after it.
fn marked(text: &str) -> Option<(Inline, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let (code, after) = rest.split_once('`')?;
        return Some((Inline::Code(code.to_owned()), after));
    }
    if let Some(rest) = text.strip_prefix("**") {
        let (strong, after) = rest.split_once("**")?;
        return Some((Inline::Strong(strong.to_owned()), after));
    }
    let (words, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (to, after) = rest.split_once(')')?;
    // Its words are no other link's.
    let words = Some(words).filter(|it| !it.contains(['[', ']']))?;
    let plain = words.replace('`', "");
    Some((Inline::Link(plain, to.to_owned()), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(it: &str) -> Inline {
        Inline::Text(it.to_owned())
    }

    fn code(it: &str) -> Inline {
        Inline::Code(it.to_owned())
    }

    #[test]
    fn a_runbook_is_read() {
        let page = "# Disk\n\nAlert `disk`, **critical**: see [x](x.md)\nand more.\n\n## Look\n\n\
                    ```sh\ndf -h   # `all`\n\ndu\n```\n\n- One\n  goes on.\n- Two.\n\n\
                    | a | b |\n| --- | --- |\n| `c` | d |\n";
        let expected = [
            Block::Head(1, vec![text("Disk")]),
            Block::Text(vec![
                text("Alert "),
                code("disk"),
                text(", "),
                Inline::Strong("critical".to_owned()),
                text(": see "),
                Inline::Link("x".to_owned(), "x.md".to_owned()),
                text(" and more."),
            ]),
            Block::Head(2, vec![text("Look")]),
            Block::Code("df -h   # `all`\n\ndu".to_owned()),
            Block::List(vec![vec![text("One goes on.")], vec![text("Two.")]]),
            Block::Table(
                vec![vec![text("a")], vec![text("b")]],
                vec![vec![vec![code("c")], vec![text("d")]]],
            ),
        ];
        assert_eq!(blocks(page), expected);
    }

    #[test]
    fn what_never_ends_is_text() {
        for line in ["a ` b", "a ** b", "[a](b", "[a] (b)", "#a", "[ü", "<b>"] {
            assert_eq!(blocks(line), [Block::Text(vec![text(line)])], "{line}");
        }
        assert_eq!(blocks("```\nx"), [Block::Code("x".to_owned())]);
        assert_eq!(blocks(""), []);
    }
}
