//! The order of a waterfall: each span below its parent, siblings by time; and which
//! spans determined when the whole was over.

use std::collections::HashMap;

use super::proto::Span;

/// A span in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Which of the spans.
    pub span: usize,
    /// How far below its root.
    pub depth: usize,
    /// Its parent is named, but isn't among the spans.
    pub is_orphan: bool,
    /// Had it been shorter, the whole would have been.
    pub is_critical: bool,
}

/// Puts spans in the order in which a waterfall shows them. All spans are there, once
/// each, also those whose parents form a circle.
pub fn waterfall(spans: &[Span]) -> Vec<Node> {
    let family = Family::of(spans);
    let mut nodes = Vec::with_capacity(spans.len());
    let mut placed = vec![false; spans.len()];
    for root in &family.roots {
        family.place(*root, &mut placed, &mut nodes);
    }
    // Those in a circle have no root: the earliest is made one.
    let mut left: Vec<usize> = (0..spans.len()).filter(|it| !placed[*it]).collect();
    left.sort_by_key(|it| (spans[*it].start_time_unix_nano, *it));
    for index in left {
        if !placed[index] {
            family.place(index, &mut placed, &mut nodes);
        }
    }
    let critical = family.critical(spans, &reach(spans, &nodes, &family));
    for node in &mut nodes {
        node.is_critical = critical[node.span];
    }
    nodes
}

/// When each span and all below it were over: work that was begun may outlive the one who
/// began it, as a job does its request.
fn reach(spans: &[Span], nodes: &[Node], family: &Family) -> Vec<u64> {
    let mut reach: Vec<u64> = spans.iter().map(|it| it.end_time_unix_nano).collect();
    // Children stand behind their parents.
    for node in nodes.iter().rev() {
        let children = family.children[node.span].iter();
        let last = children.map(|it| reach[*it]).max().unwrap_or(0);
        reach[node.span] = reach[node.span].max(last);
    }
    reach
}

/// Who is whose child.
struct Family {
    roots: Vec<usize>,
    /// Of each span, by time.
    children: Vec<Vec<usize>>,
    is_orphan: Vec<bool>,
}

impl Family {
    fn of(spans: &[Span]) -> Self {
        let by_id: HashMap<&[u8], usize> = spans
            .iter()
            .enumerate()
            .map(|(index, it)| (&it.span_id[..], index))
            .collect();
        let mut it = Self {
            roots: Vec::new(),
            children: vec![Vec::new(); spans.len()],
            is_orphan: vec![false; spans.len()],
        };
        for (index, span) in spans.iter().enumerate() {
            let parent = by_id.get(&span.parent_span_id[..]);
            match parent.filter(|it| **it != index) {
                Some(parent) => it.children[*parent].push(index),
                None => {
                    it.is_orphan[index] = !span.parent_span_id.is_empty();
                    it.roots.push(index);
                }
            }
        }
        let by_time = |all: &mut Vec<usize>| {
            all.sort_by_key(|it| (spans[*it].start_time_unix_nano, *it));
        };
        by_time(&mut it.roots);
        it.children.iter_mut().for_each(by_time);
        it
    }

    /// A span and all below it. Without recursion: a hostile chain may be long.
    fn place(&self, root: usize, placed: &mut [bool], nodes: &mut Vec<Node>) {
        let mut waiting = vec![(root, 0)];
        while let Some((span, depth)) = waiting.pop() {
            if std::mem::replace(&mut placed[span], true) {
                continue;
            }
            nodes.push(Node {
                span,
                depth,
                is_orphan: self.is_orphan[span],
                is_critical: false,
            });
            let children = self.children[span].iter().rev();
            waiting.extend(children.map(|it| (*it, depth + 1)));
        }
    }

    /// From the end back: of siblings the one that was over last is critical, then the one
    /// that was over last before that one began, and so on; below each likewise.
    fn critical(&self, spans: &[Span], reach: &[u64]) -> Vec<bool> {
        let mut critical = vec![false; spans.len()];
        let mut waiting = vec![&self.roots];
        while let Some(siblings) = waiting.pop() {
            let mut by_end: Vec<usize> = siblings.clone();
            by_end.sort_by_key(|it| (reach[*it], *it));
            let mut before = u64::MAX;
            for index in by_end.into_iter().rev() {
                if reach[index] > before || critical[index] {
                    continue;
                }
                critical[index] = true;
                before = spans[index].start_time_unix_nano;
                waiting.push(&self.children[index]);
            }
        }
        critical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Id, parent (0 for none), from, to.
    fn span((id, parent, from, to): (u8, u8, u64, u64)) -> Span {
        Span {
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 {
                Vec::new()
            } else {
                vec![parent; 8]
            },
            start_time_unix_nano: from,
            end_time_unix_nano: to,
            ..Span::default()
        }
    }

    /// Each as depth and id, `!` before what is critical, `?` before an orphan.
    fn drawn(all: &[(u8, u8, u64, u64)]) -> String {
        let spans: Vec<Span> = all.iter().map(|it| span(*it)).collect();
        let nodes = waterfall(&spans);
        assert_eq!(nodes.len(), spans.len());
        let one = |it: &Node| {
            let mark = if it.is_critical { "!" } else { "" };
            let orphan = if it.is_orphan { "?" } else { "" };
            format!("{}:{mark}{orphan}{}", it.depth, spans[it.span].span_id[0])
        };
        nodes.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn children_stand_below_their_parent_by_time() {
        let all = [(3, 1, 20, 30), (1, 0, 0, 40), (2, 1, 5, 10), (4, 3, 21, 22)];
        assert_eq!(drawn(&all), "0:!1 1:!2 1:!3 2:!4");
        assert_eq!(drawn(&[]), "");
    }

    #[test]
    fn of_siblings_at_once_the_last_to_end_is_critical() {
        let all = [(1, 0, 0, 40), (2, 1, 0, 10), (3, 1, 10, 30), (4, 1, 5, 20)];
        assert_eq!(drawn(&all), "0:!1 1:!2 1:4 1:!3");
        // A child that outlives its parent, as a job does its request.
        let all = [
            (1, 0, 0, 40),
            (2, 1, 0, 10),
            (3, 1, 95, 190),
            (4, 1, 30, 39),
        ];
        assert_eq!(drawn(&all), "0:!1 1:!2 1:!4 1:!3");
    }

    #[test]
    fn orphans_and_circles_are_shown_too() {
        let all = [(1, 9, 5, 6), (2, 3, 1, 2), (3, 2, 0, 4), (4, 4, 7, 8)];
        assert_eq!(drawn(&all), "0:!?1 0:!?4 0:3 1:2");
    }

    #[test]
    fn a_long_chain_is_no_trouble() {
        let spans: Vec<Span> = (0..50_000_u64)
            .map(|it| Span {
                span_id: (it + 1).to_be_bytes().to_vec(),
                parent_span_id: if it == 0 {
                    Vec::new()
                } else {
                    it.to_be_bytes().to_vec()
                },
                start_time_unix_nano: it,
                end_time_unix_nano: 100_000 - it,
                ..Span::default()
            })
            .collect();
        let nodes = waterfall(&spans);
        assert_eq!(nodes.last().map(|it| it.depth), Some(49_999));
    }
}
