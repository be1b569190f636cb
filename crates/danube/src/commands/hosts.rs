//! What a playbook did on its hosts, as a table.

use danube_api::{HostTotals, HostView};

use crate::terminal::{Cell, Table};

/// A column of counts: its head, and what stands in it.
type Counts = (&'static str, fn(&HostView) -> u64);

/// What every table shows.
const COUNTS: [Counts; 5] = [
    ("OK", |it| it.ok),
    ("CHANGED", |it| it.changed),
    ("FAILED", |it| it.failed),
    ("UNREACHABLE", |it| it.unreachable),
    ("SKIPPED", |it| it.skipped),
];

/// What a table shows only where it happened.
const SELDOM: [Counts; 2] = [("RESCUED", |it| it.rescued), ("IGNORED", |it| it.ignored)];

/// A row a host; those where something went wrong stand first.
pub(crate) fn table(hosts: &[HostView]) -> Table {
    let seldom = SELDOM.into_iter();
    let happened = seldom.filter(|(_, count)| hosts.iter().any(|it| count(it) > 0));
    let counts: Vec<Counts> = COUNTS.into_iter().chain(happened).collect();
    let mut heads = vec!["HOST", "STATUS"];
    heads.extend(counts.iter().map(|(head, _)| *head));
    let mut table = Table::new(&heads, &[0]);
    let mut rows: Vec<&HostView> = hosts.iter().collect();
    // Stable: of equal ones the order stays.
    rows.sort_by_key(|it| it.failed == 0 && it.unreachable == 0);
    for host in rows {
        let mut row = vec![Cell::new(&host.host), Cell::status(&host.status)];
        let numbers = counts.iter().map(|(_, count)| count(host).to_string());
        row.extend(numbers.map(|it| Cell::number(&it)));
        table.row(row);
    }
    table
}

/// How many hosts do how, in a line; empty without any.
pub(crate) fn totals(totals: &HostTotals) -> String {
    let HostTotals {
        ok,
        changed,
        failed,
        unreachable,
        skipped,
    } = totals;
    let all = [
        (ok, "ok"),
        (changed, "changed"),
        (failed, "failed"),
        (unreachable, "unreachable"),
        (skipped, "skipped"),
    ];
    let some = all.into_iter().filter(|(count, _)| **count > 0);
    let words: Vec<String> = some
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Screen;

    fn host(name: &str, status: &str, failed: u64, ignored: u64) -> HostView {
        HostView {
            host: name.to_owned(),
            status: status.to_owned(),
            ok: 12,
            changed: 1,
            failed,
            unreachable: 0,
            skipped: 0,
            rescued: 0,
            ignored,
        }
    }

    #[test]
    fn what_went_wrong_stands_first_and_what_never_happened_nowhere() {
        let hosts = [host("a", "ok", 0, 0), host("b", "failed", 1, 2)];
        assert_eq!(
            table(&hosts).render(&Screen::plain(), true),
            "HOST  STATUS  OK  CHANGED  FAILED  UNREACHABLE  SKIPPED  IGNORED\n\
             b     failed  12        1       1            0        0        2\n\
             a     ok      12        1       0            0        0        0\n"
        );
        let none = HostTotals {
            ok: 0,
            changed: 2,
            failed: 0,
            unreachable: 1,
            skipped: 0,
        };
        assert_eq!(totals(&none), "2 changed, 1 unreachable");
    }
}
