//! Where rows and bars stand.

use proptest::prelude::*;

use super::super::axis::Axis;
use super::super::*;

const MILLI: u64 = 1_000_000;
/// Times are since 1970, and no axis begins there.
const BEGIN: u64 = 1_768_048_496_000 * MILLI;

/// Id, parent (empty for none), from and to in milliseconds.
fn span((id, parent, from, to): (&str, &str, u64, u64)) -> Span {
    Span {
        id: id.to_owned(),
        parent: parent.to_owned(),
        name: format!("span {id}"),
        start_nanos: BEGIN + from * MILLI,
        end_nanos: BEGIN + to * MILLI,
        ..Span::default()
    }
}

fn spans(all: &[(&str, &str, u64, u64)]) -> Vec<Span> {
    all.iter().map(|it| span(*it)).collect()
}

fn ask(only: Only, span: &str) -> TraceAsk {
    TraceAsk {
        only,
        span: span.to_owned(),
        log: None,
    }
}

/// Each row as depth and id: `!` before what is critical, `?` before a stray, `~` before what is
/// outside, `wait` for a wait.
fn drawn(waterfall: &Waterfall) -> String {
    let one = |it: &Row| {
        let mark = |is: bool, mark: &'static str| if is { mark } else { "" };
        let marks = [
            mark(it.is_critical, "!"),
            mark(it.is_stray, "?"),
            mark(it.is_outside, "~"),
            mark(it.kind == RowKind::Queue, "wait "),
        ];
        format!("{}:{}{}", it.depth, marks.concat(), it.id)
    };
    waterfall
        .rows
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

fn check(all: &[(&str, &str, u64, u64)], expected: &str) {
    let waterfall = Waterfall::new(&spans(all), &TraceAsk::default());
    assert_eq!(drawn(&waterfall), expected);
    assert_eq!(waterfall.rows.len(), all.len());
}

#[test]
fn children_stand_below_their_parent_by_time() {
    check(
        &[
            ("c", "a", 20, 30),
            ("a", "", 0, 40),
            ("b", "a", 5, 10),
            ("d", "c", 21, 22),
        ],
        "0:!a, 1:!b, 1:!c, 2:!d",
    );
    check(&[], "");
}

#[test]
fn of_what_goes_on_at_once_the_end_waited_for_the_last() {
    check(
        &[
            ("a", "", 0, 40),
            ("b", "a", 0, 10),
            ("c", "a", 10, 30),
            ("d", "a", 5, 20),
        ],
        "0:!a, 1:!b, 1:d, 1:!c",
    );
}

#[test]
fn the_end_waits_for_a_job_that_outlives_its_request() {
    check(
        &[
            ("request", "", 0, 40),
            ("auth", "request", 0, 10),
            ("job", "request", 95, 190),
            ("build", "job", 95, 150),
            ("test", "job", 150, 180),
            ("lint", "job", 150, 155),
            ("store", "request", 30, 39),
        ],
        "0:!request, 1:!auth, 1:!store, 1:!job, 2:!build, 2:!test, 2:lint",
    );
}

#[test]
fn several_roots_strays_and_circles_are_all_shown() {
    // `x` names a parent that isn't there, `s` itself; `p` and `q` are each below the other, and
    // `tail`, though it is earlier, is below them.
    check(
        &[
            ("x", "gone", 5, 6),
            ("p", "q", 3, 4),
            ("q", "p", 2, 9),
            ("tail", "p", 1, 2),
            ("s", "s", 7, 8),
            ("r", "", 8, 10),
        ],
        "0:!?x, 0:!?s, 0:!r, 0:?q, 1:p, 2:tail",
    );
}

#[test]
fn the_wait_in_the_queue_has_a_row_and_the_axis_begins_with_it() {
    let mut all = spans(&[("job", "", 100, 200), ("step", "job", 150, 200)]);
    all[0].queue_nanos = 50 * MILLI;
    let waterfall = Waterfall::new(&all, &TraceAsk::default());
    assert_eq!(drawn(&waterfall), "0:!wait job, 0:!job, 1:!step");
    assert_eq!(waterfall.from_nanos, BEGIN + 50 * MILLI);
    assert_eq!(waterfall.length_nanos, 150 * MILLI);
    assert_eq!(waterfall.queue_nanos, 50 * MILLI);
    let bars = waterfall.rows.iter().map(|it| (it.bar_start, it.bar_width));
    let third = 1.0 / 3.0;
    let expected = [(0.0, third), (third, 2.0 * third), (2.0 * third, third)];
    for ((start, width), (at, of)) in bars.zip(expected) {
        assert!((start - at).abs() < 1e-9 && (width - of).abs() < 1e-9);
    }
    let starts: Vec<i64> = waterfall.rows.iter().map(|it| it.start_nanos).collect();
    assert_eq!(starts, [0, 50_000_000, 100_000_000]);
    // It shows where the job itself is shown.
    all[1].has_failed = true;
    let failed = Waterfall::new(&all, &ask(Only::Failed, ""));
    assert_eq!(drawn(&failed), "0:!wait job, 0:!job, 1:!step");
}

#[test]
fn a_tool_s_wrong_clock_moves_neither_axis_nor_critical_path() {
    let mut all = spans(&[
        ("job", "", 1_000, 2_000),
        ("step", "job", 1_000, 2_000),
        ("fast", "step", 9_000, 9_500),
        ("slow", "step", 100, 200),
        ("back", "step", 1_600, 1_500),
        ("good", "step", 1_200, 1_900),
    ]);
    for tool in &mut all[2..] {
        tool.service = "pytest".to_owned();
    }
    let waterfall = Waterfall::new(&all, &TraceAsk::default());
    assert_eq!(waterfall.from_nanos, BEGIN + 1_000 * MILLI);
    assert_eq!(waterfall.length_nanos, 1_000 * MILLI);
    assert_eq!((waterfall.foreign, waterfall.skewed), (4, 3));
    assert_eq!(
        drawn(&waterfall),
        "0:!job, 1:!step, 2:!~slow, 2:!good, 2:~back, 2:!~fast"
    );
    let of = |id: &str| {
        let row = waterfall.rows.iter().find(|it| it.id == id).unwrap();
        (row.start_nanos / 1_000_000, row.bar_start, row.bar_width)
    };
    assert_eq!(of("fast"), (8_000, 1.0, 0.0));
    assert_eq!(of("slow"), (-900, 0.0, 0.0));
    assert_eq!(of("back"), (600, 0.6, 0.0));
}

#[test]
fn a_webhook_s_later_attempts_neither_stretch_the_axis_nor_were_waited_for() {
    let mut all = spans(&[("job", "", 0, 100), ("hook", "job", 90_000, 90_100)]);
    all[1].is_aftermath = true;
    let waterfall = Waterfall::new(&all, &TraceAsk::default());
    assert_eq!(waterfall.length_nanos, 100 * MILLI);
    assert_eq!(drawn(&waterfall), "0:!job, 1:~hook");
    assert_eq!(waterfall.skewed, 0);
}

#[test]
fn where_only_tools_have_spans_the_axis_is_theirs() {
    let mut all = spans(&[("a", "gone", 10, 20), ("b", "a", 10, 15)]);
    for it in &mut all {
        it.service = "make".to_owned();
    }
    let waterfall = Waterfall::new(&all, &TraceAsk::default());
    assert_eq!(waterfall.length_nanos, 10 * MILLI);
    assert_eq!(drawn(&waterfall), "0:!?a, 1:!b");
}

#[test]
fn a_filter_shows_what_it_says_with_what_that_stands_below() {
    let mut all = spans(&[
        ("job", "", 0, 100),
        ("build", "job", 0, 60),
        ("cc", "build", 10, 60),
        ("test", "job", 20, 100),
        ("unit", "test", 20, 90),
    ]);
    all[2].has_failed = true;
    let drawn = |only, span| drawn(&Waterfall::new(&all, &ask(only, span)));
    assert_eq!(drawn(Only::Critical, ""), "0:!job, 1:!test, 2:!unit");
    assert_eq!(drawn(Only::Failed, ""), "0:!job, 1:build, 2:cc");
    assert_eq!(drawn(Only::Span, "unit"), "0:!job, 1:!test, 2:!unit");
    assert_eq!(drawn(Only::Below, "build"), "0:build, 1:cc");
    // What isn't there hides nothing.
    assert_eq!(drawn(Only::Below, "gone").split(", ").count(), 5);
    let below = Waterfall::new(&all, &ask(Only::Below, "build"));
    assert_eq!(below.from_nanos, BEGIN);
    assert_eq!(below.length_nanos, 60 * MILLI);
    assert!((below.rows[1].bar_start - 1.0 / 6.0).abs() < 1e-9);
}

#[test]
fn of_a_long_trace_what_counts_is_shown_and_the_rest_is_counted() {
    let mut all = vec![span(("job", "", 0, 1_000))];
    let names: Vec<String> = (0..100).map(|it| format!("t{it:03}")).collect();
    for (at, name) in (0..).zip(&names) {
        all.push(span((name, "job", at * 10, at * 10 + 9 - at % 2)));
    }
    all.push(span(("deep", "t050", 501, 502)));
    for it in &mut all[1..] {
        it.name = "test".to_owned();
    }
    all[101].has_failed = true;
    let waterfall = Waterfall::bounded(&all, &ask(Only::All, ""), 103);
    assert_eq!((waterfall.rows.len(), waterfall.left_out), (102, 0));
    // All are critical here, so it goes by failure and time; `deep` failed, and what it stands
    // below comes with it.
    let waterfall = Waterfall::bounded(&all, &ask(Only::All, ""), 10);
    assert_eq!((waterfall.rows.len(), waterfall.left_out), (10, 92));
    assert_eq!(waterfall.spans, 102);
    let ids: Vec<&str> = waterfall.rows.iter().map(|it| &*it.id).collect();
    let kept = [
        "job", "t000", "t002", "t004", "t006", "t008", "t010", "t012", "t050", "deep",
    ];
    assert_eq!(ids, kept);
    assert_eq!(waterfall.rows[0].left_out, 92);
}

#[test]
fn the_step_that_wrote_a_byte_of_the_log_is_found() {
    let mut all = spans(&[
        ("a", "", 0, 9),
        ("b", "", 0, 9),
        ("c", "", 0, 9),
        ("d", "", 0, 9),
    ]);
    all[0].log = Some((0, Some(100)));
    all[1].log = Some((100, Some(200)));
    all[2].log = Some((120, Some(130)));
    all[3].log = Some((200, None));
    let find = |log| {
        let asked = TraceAsk {
            log: Some(log),
            ..TraceAsk::default()
        };
        asked.find(&all).map(|it| it.id.clone())
    };
    let found: Vec<_> = [0, 99, 100, 125, 199, 9_999]
        .map(|it| find(it).unwrap())
        .into();
    assert_eq!(found, ["a", "a", "b", "c", "b", "d"]);
}

#[test]
fn ticks_are_round_and_few() {
    let said = |length: u64| {
        let axis = Axis {
            from: 7,
            to: 7 + length,
        };
        let ticks = axis.ticks();
        assert!(ticks.iter().all(|it| (0.0..=1.0).contains(&it.at)));
        let labels: Vec<_> = ticks.into_iter().map(|it| it.label).collect();
        labels.join(", ")
    };
    for (length, expected) in [
        (0, "0"),
        (900, "0, 200 ns, 400 ns, 600 ns, 800 ns"),
        (412 * MILLI, "0, 100 ms, 200 ms, 300 ms, 400 ms"),
        (3_000 * MILLI, "0, 1 s, 2 s, 3 s"),
        (61_000 * MILLI, "0, 15 s, 30 s, 45 s, 1 min"),
        (7_200_000 * MILLI, "0, 30 min, 1 h, 1 h 30 min, 2 h"),
    ] {
        assert_eq!(said(length), expected, "{length}");
    }
    said(u64::MAX - 7);
}

#[test]
fn times_are_said_in_few_letters() {
    for (of, said) in [
        (0, "0 ms"),
        (412, "412 ns"),
        (54_300, "54 µs"),
        (6_130_000, "6.1 ms"),
        (334_000_000, "334 ms"),
        (65_000_000_000, "1 min 5 s"),
    ] {
        assert_eq!(nanos(of), said);
    }
}

#[test]
fn a_long_chain_is_no_trouble() {
    let all: Vec<Span> = (0..20_000_u64)
        .map(|it| Span {
            id: format!("{it:016x}"),
            parent: it
                .checked_sub(1)
                .map(|it| format!("{it:016x}"))
                .unwrap_or_default(),
            start_nanos: it,
            end_nanos: 100_000 - it,
            ..Span::default()
        })
        .collect();
    let waterfall = Waterfall::new(&all, &TraceAsk::default());
    assert_eq!(waterfall.rows.len(), ROWS_MAX);
    assert_eq!(waterfall.rows.last().unwrap().depth, ROWS_MAX - 1);
    assert_eq!(waterfall.left_out, 15_000);
}

fn any_span() -> impl Strategy<Value = Span> {
    let time = prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        BEGIN..BEGIN + 1_000 * MILLI,
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (0..12_u8, 0..14_u8, time.clone(), time, flags, any::<u64>()).prop_map(
        |(id, parent, start_nanos, end_nanos, (failed, own, after), queue)| Span {
            id: format!("{id:x}"),
            parent: if parent == 13 {
                String::new()
            } else {
                format!("{parent:x}")
            },
            name: "n".repeat(usize::from(id) * 40),
            start_nanos,
            end_nanos,
            service: if own {
                String::new()
            } else {
                "tool".to_owned()
            },
            has_failed: failed,
            is_aftermath: after,
            queue_nanos: if queue % 3 == 0 { queue } else { 0 },
            ..Span::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_spans_have_a_layout_with_bars_inside_the_axis(
        all in proptest::collection::vec(any_span(), 0..24),
        only in prop_oneof![Just(Only::All), Just(Only::Critical), Just(Only::Failed), Just(Only::Span), Just(Only::Below)],
        rows_max in 0..30_usize,
    ) {
        let waterfall = Waterfall::bounded(&all, &ask(only, "3"), rows_max);
        for row in &waterfall.rows {
            prop_assert!((0.0..=1.0).contains(&row.bar_start));
            prop_assert!((0.0..=1.0).contains(&row.bar_width));
            prop_assert!(row.bar_start + row.bar_width <= 1.0);
        }
        let shown = waterfall.rows.iter().filter(|it| it.kind == RowKind::Span).count();
        prop_assert!(shown <= rows_max);
        if only == Only::All {
            prop_assert_eq!(shown + waterfall.left_out, all.len());
        }
        // Each row stands right below the one that it belongs to, or further left.
        let depths = waterfall.rows.iter().map(|it| it.depth);
        for (above, depth) in std::iter::once(0).chain(depths.clone().map(|it| it + 1)).zip(depths) {
            prop_assert!(depth <= above || only == Only::Below);
        }
    }
}
