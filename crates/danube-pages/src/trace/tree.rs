//! The order of the rows, each span below its parent and siblings by time; and the critical path.
//!
//! The critical path is found from the end back. Of the roots, the one that was over last is on it;
//! then, of those that were over before that one began, the one that was over last, and so on to
//! the beginning. Below each span on it the same is done with its children. A span counts as over
//! when all below it are: a job outlives the request that submitted it. So had a span on the path
//! been shorter, the end would have come earlier, as far as times can tell. What the job's end set
//! off, its webhooks, the end never waited for. `danube trace` marks the same spans.

use std::collections::HashMap;

use super::Span;

/// A span in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    /// Which of the spans.
    pub(super) span: usize,
    /// The node that it stands below.
    pub(super) parent: Option<usize>,
    /// How far below its root.
    pub(super) depth: usize,
    /// It names a parent, but stands below none: that isn't there, or is below it.
    pub(super) is_stray: bool,
    /// The end waited for it.
    pub(super) is_critical: bool,
}

/// All spans, once each, parents before their children.
pub(super) fn order(spans: &[Span]) -> Vec<Node> {
    let family = Family::of(spans);
    let mut nodes = Vec::with_capacity(spans.len());
    let mut placed = vec![false; spans.len()];
    for root in &family.roots {
        family.place(spans, *root, &mut placed, &mut nodes);
    }
    // What is left hangs below circles, which have no root: the earliest of each is made one.
    for index in 0..spans.len() {
        if !placed[index] {
            let root = family.earliest_of_circle(spans, index);
            family.place(spans, root, &mut placed, &mut nodes);
        }
    }
    nodes
}

/// Who is whose child.
struct Family {
    roots: Vec<usize>,
    parent: Vec<Option<usize>>,
    /// Of each span, by time.
    children: Vec<Vec<usize>>,
}

impl Family {
    fn of(spans: &[Span]) -> Self {
        let mut by_id: HashMap<&str, usize> = HashMap::with_capacity(spans.len());
        for (index, span) in spans.iter().enumerate() {
            by_id.entry(&span.id).or_insert(index);
        }
        let parent_of = |(index, span): (usize, &Span)| {
            let parent = by_id.get(span.parent.as_str()).copied();
            parent.filter(|it| *it != index && !span.parent.is_empty())
        };
        let parent: Vec<_> = spans.iter().enumerate().map(parent_of).collect();
        let mut roots = Vec::new();
        let mut children = vec![Vec::new(); spans.len()];
        for (index, parent) in parent.iter().enumerate() {
            match parent {
                Some(parent) => children[*parent].push(index),
                None => roots.push(index),
            }
        }
        let by_time = |all: &mut Vec<usize>| all.sort_by_key(|it| (spans[*it].start_nanos, *it));
        by_time(&mut roots);
        children.iter_mut().for_each(by_time);
        Self {
            roots,
            parent,
            children,
        }
    }

    /// A span and all below it. Without recursion: a hostile chain may be long.
    fn place(&self, spans: &[Span], root: usize, placed: &mut [bool], nodes: &mut Vec<Node>) {
        let mut waiting = vec![(root, None, 0)];
        while let Some((span, parent, depth)) = waiting.pop() {
            if std::mem::replace(&mut placed[span], true) {
                continue;
            }
            let own = nodes.len();
            nodes.push(Node {
                span,
                parent,
                depth,
                is_stray: parent.is_none() && !spans[span].parent.is_empty(),
                is_critical: false,
            });
            let children = self.children[span].iter().rev();
            waiting.extend(children.map(|it| (*it, Some(own), depth + 1)));
        }
    }

    /// Of the circle that a span hangs below. Nothing of it is placed yet.
    fn earliest_of_circle(&self, spans: &[Span], from: usize) -> usize {
        let mut seen = HashMap::new();
        let mut way = Vec::new();
        let mut at = from;
        while let std::collections::hash_map::Entry::Vacant(it) = seen.entry(at) {
            it.insert(way.len());
            way.push(at);
            match self.parent[at] {
                Some(parent) => at = parent,
                None => return at,
            }
        }
        let circle = way[seen[&at]..].iter().copied();
        let earliest = circle.min_by_key(|it| (spans[*it].start_nanos, *it));
        earliest.unwrap_or(from)
    }
}

/// Marks the nodes of the critical path; `times` are from when to when each span was, as far as its
/// clock is believed.
pub(super) fn mark_critical(nodes: &mut [Node], spans: &[Span], times: &[(u64, u64)]) {
    let mut reach: Vec<u64> = nodes.iter().map(|it| times[it.span].1).collect();
    let mut roots = Vec::new();
    let mut children = vec![Vec::new(); nodes.len()];
    // Children stand behind their parents.
    for index in (0..nodes.len()).rev() {
        if spans[nodes[index].span].is_aftermath {
            continue;
        }
        match nodes[index].parent {
            Some(parent) => {
                reach[parent] = reach[parent].max(reach[index]);
                children[parent].push(index);
            }
            None => roots.push(index),
        }
    }
    let mut waiting = vec![roots];
    while let Some(mut siblings) = waiting.pop() {
        siblings.sort_by_key(|it| std::cmp::Reverse((reach[*it], *it)));
        let mut before = u64::MAX;
        for index in siblings {
            if reach[index] > before {
                continue;
            }
            nodes[index].is_critical = true;
            before = times[nodes[index].span].0;
            waiting.push(std::mem::take(&mut children[index]));
        }
    }
}
