//! Tests of users' rules: against the oracle, and what is said of wrong ones.

use proptest::prelude::*;
use std::sync::LazyLock;

use super::oracle::{PIECES, rules};
use super::*;
use crate::oracle::{Case, check};
use crate::{Counts, Redactor, Rules, Secrets};

fn rule(id: &str, keyword: &str, pattern: &str) -> UserRule {
    UserRule {
        id: id.to_owned(),
        keyword: keyword.to_owned(),
        pattern: pattern.to_owned(),
        case_sensitive: false,
    }
}

fn secrets(rules: &[UserRule]) -> Secrets {
    Secrets::new(Rules::none().with_user(rules).unwrap())
}

static CASES: LazyLock<[Case; 2]> = LazyLock::new(|| {
    let only = Rules::none().with_user(&rules()).unwrap();
    let with_others = Rules::builtin().with_user(&rules()).unwrap();
    [
        Case::new(only, &[]),
        Case::new(with_others, &[b"0123-5678-0123", b"abababab-x"]),
    ]
});

fn input(genes: &[u16]) -> Vec<u8> {
    let pieces = genes
        .iter()
        .map(|it| PIECES[usize::from(*it) % PIECES.len()]);
    pieces.collect::<String>().into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn users_rules_give_in_any_split_what_the_oracle_gives(
        genes in prop::collection::vec(any::<u16>(), 0..14),
        cuts in prop::collection::vec(0u8..24, 1..8),
        case in 0usize..2,
        limit in prop::sample::select(vec![8, 40, 64 * 1024]),
    ) {
        check(&CASES[case], &input(&genes), &cuts, limit);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn users_rules_count_the_same_in_any_split(
        genes in prop::collection::vec(any::<u16>(), 0..14),
        cuts in prop::collection::vec(0u8..24, 1..8),
    ) {
        let input = input(&genes);
        let secrets = &CASES[0].secrets;
        let mut whole = Redactor::new(&secrets[0]);
        whole.push(&input, &mut Vec::new());
        whole.finish(&mut Vec::new());
        let mut pieces = Redactor::new(&secrets[0]);
        let mut rest = input.as_slice();
        for cut in cuts.iter().cycle().take(input.len() * 2) {
            let (now, then) = rest.split_at(usize::from(*cut).min(rest.len()));
            rest = then;
            pieces.push(now, &mut Vec::new());
            pieces.flush_partial(&mut Vec::new());
        }
        pieces.push(rest, &mut Vec::new());
        pieces.finish(&mut Vec::new());
        prop_assert_eq!(whole.take_counts(), pieces.take_counts());
    }
}

/// Patterns over a small alphabet, so that walks meet and part in every way.
fn patterns() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a", "b", "a", "b", "[ab]", "=", ".", "!", r"\b", "$", "ab", "aba",
    ]);
    let part = leaf
        .prop_map(str::to_owned)
        .prop_recursive(4, 16, 3, |part| {
            let sign = prop::sample::select(vec!["*", "+", "?", "*?", "+?", "??", "{2,5}", "{3}"]);
            prop_oneof![
                prop::collection::vec(part.clone(), 2..4).prop_map(|it| it.concat()),
                (part.clone(), part.clone()).prop_map(|(a, b)| format!("(?:{a}|{b})")),
                (part, sign).prop_map(|(a, sign)| format!("(?:{a}){sign}")),
            ]
        })
        .boxed();
    let three = (part.clone(), part.clone(), part);
    (three, 0..5).prop_map(|((a, b, c), form)| match form {
        0 => format!("{a}{b}{c}"),
        1 => format!("{a}(?<secret>{b}){c}"),
        2 => format!("(?:{a}|(?<secret>{b})){c}"),
        3 => format!("(?:{a}|(?<secret>{b}))+{c}"),
        _ => format!("(?<secret>{a}){b}|{c}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pattern_gives_in_any_split_what_the_oracle_gives(
        pattern in patterns(),
        keyword in prop::sample::select(vec!["aba", "bbb", "ab=ab"]),
        text in prop::collection::vec(prop::sample::select(b"aaaaabbbbb=!\n".to_vec()), 0..120),
        cuts in prop::collection::vec(0u8..24, 1..8),
    ) {
        // A pattern that matches the empty string is refused, and rightly so.
        if let Ok(rules) = Rules::none().with_user(&[rule("any", keyword, &pattern)]) {
            check(&Case::new(rules, &[]), &text, &cuts, 40);
        }
    }
}

#[test]
fn every_mistake_of_every_rule_is_told_with_what_to_do() {
    let long = "x".repeat(65);
    let wrong = [
        rule("Acme", "ac", "(unclosed"),
        rule("jwt", "line\nend", "a*"),
        rule("twice", " \t ", r"\Aacme"),
        rule("twice", &long, r"acme\nkey"),
        rule("ok", "acme", "acme[0-9]+"),
        rule("", "acme", "(?:[a-z]{1,99}[0-9]?){60}"),
        rule("u", "acme", r"acme(?u:\b)"),
        rule("v", "acme", "acme[a&&b]"),
        rule(&long, "acme", &"a".repeat(5000)),
    ];
    let errors = Rules::none().with_user(&wrong).unwrap_err();
    let told: Vec<String> = errors
        .iter()
        .map(|it| format!("{} {} {}", it.index, it.field, it.why))
        .collect();
    assert_eq!(
        told,
        [
            "0 id is no name",
            "0 keyword is shorter than 3 bytes",
            "0 pattern is no regular expression: unclosed group, at byte 1",
            "1 id is taken, by another rule or a built-in one",
            "1 keyword holds an end of line, over which no match goes",
            "1 pattern matches the empty string",
            "2 keyword is nothing but white space",
            "2 pattern asks where the text begins or ends, but a log is a stream",
            "3 id is taken, by another rule or a built-in one",
            &format!("3 keyword is longer than {KEYWORD_NEAR_BYTES} bytes"),
            "3 pattern holds an end of line, over which no match goes",
            "5 id is no name",
            "5 pattern is too large: its automaton takes more than 1024 KiB",
            "6 pattern asks for a word boundary in Unicode",
            "7 pattern can never match",
            "8 id is no name",
            "8 pattern is longer than 4096 bytes",
        ]
    );
    assert_eq!(
        errors[2].to_string(),
        "rule 1 (`Acme`): the pattern is no regular expression: unclosed group, at byte 1: \
         write it as for the Rust library `regex`, in bytes and ASCII classes"
    );
}

#[test]
fn a_rule_too_many_is_refused() {
    let many: Vec<UserRule> = (0..120)
        .map(|it| rule(&format!("r{it}"), "acme", "acme[0-9]"))
        .collect();
    assert!(Rules::none().with_user(&many[..100]).is_ok());
    let errors = Rules::none().with_user(&many).unwrap_err();
    assert_eq!((errors.len(), errors[0].index), (1, 100));
}

#[test]
fn rules_of_well_known_collections_fit() {
    for pattern in [
        r#"(?i)(?:adafruit)(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}(?<secret>[a-z0-9_-]{32})(?:[\x60'"\s;]|\\[nr]|$)"#,
        r"\b(?<secret>A3-[A-Z0-9]{6}-(?:(?:[A-Z0-9]{11})|(?:[A-Z0-9]{6}-[A-Z0-9]{5}))-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5})\b",
        r"\b(?<secret>LTAI(?i)[a-z0-9]{20})(?:[\x60'\x22\s;]|\\[nr]|$)",
        r"https://[a-zA-Z0-9]{1,64}\.webhook\.office\.com/webhookb2/[a-z0-9-]{36}@[a-z0-9-]{36}/IncomingWebhook/[a-z0-9]{32}/[a-z0-9-]{36}",
        r"eyJrIjoi[A-Za-z0-9]{70,400}={0,3}",
        r"\b[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b",
    ] {
        let errors = Rules::none()
            .with_user(&[rule("one", "key", pattern)])
            .err();
        assert_eq!(errors, None, "{pattern}");
    }
}

#[test]
fn a_prompt_of_which_only_the_answer_is_masked_shows_at_once() {
    let secrets = secrets(&[
        rule("pin", "pin code", r"pin code: (?<secret>\d+)"),
        rule("acme", "ACME-", "ACME-[A-Z0-9]{6}"),
    ]);
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    for (write, shown) in [
        ("your pin c", "your pin c"),
        ("ode: ", "your pin code: "),
        ("12", "your pin code: "),
        ("34\nACM", "your pin code: [redacted]\n"),
        ("E", "your pin code: [redacted]\n"),
        (" AC", "your pin code: [redacted]\nACME "),
        ("ME-A1", "your pin code: [redacted]\nACME "),
        (
            "! ACME-ABCDEFG",
            "your pin code: [redacted]\nACME ACME-A1! [redacted]G",
        ),
    ] {
        redactor.push(write.as_bytes(), &mut out);
        redactor.flush_partial(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), shown, "after {write:?}");
    }
}

#[test]
fn overlapping_matches_of_a_rule_count_once_and_a_mask_does_not_count() {
    let secrets = secrets(&[
        rule("many", "key", "[0-9]{4}"),
        rule("group", "key", r"\w*=(?<secret>\S+)"),
    ]);
    let text = "key 12345678 key x=abc\n";
    let shown = "key [redacted] key x=[redacted]\n";
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    redactor.push(text.as_bytes(), &mut out);
    redactor.finish(&mut out);
    assert_eq!(String::from_utf8_lossy(&out), shown);
    // 1234, 2345, … overlap up to 5678.
    assert_eq!(
        redactor.take_counts(),
        Counts::from([("group", 1), ("many", 1)])
    );
    redactor.push(shown.as_bytes(), &mut Vec::new());
    redactor.finish(&mut Vec::new());
    assert_eq!(redactor.take_counts(), Counts::new());
}

#[test]
fn a_match_goes_on_to_its_limit_from_every_start() {
    let group = rule("group", "long", r"\w*=(?<secret>[0-9]+)");
    let whole = rule("whole", "long", "[a-z0-9=]+");
    for rule in [group, whole] {
        let rules = Rules::none().with_user(&[rule]).unwrap();
        let case = Case::new(rules, &[]);
        for before in 0..KEYWORD_NEAR_BYTES {
            let text = format!(
                "long{}={}",
                "x".repeat(before),
                "7".repeat(4 * MATCH_BYTES_MAX)
            );
            for cuts in [&[1, 0][..], &[7], &[200]] {
                check(&case, text.as_bytes(), cuts, 40);
            }
        }
    }
}

#[test]
fn ids_of_users_rules_are_told_with_the_others() {
    let rules = Rules::builtin().with_user(&rules()).unwrap();
    let ids = rules.ids();
    assert!(ids.is_sorted() && ids.contains(&"t_whole") && ids.contains(&"jwt"));
    assert_eq!(rules.user().len(), super::oracle::rules().len());
    assert_eq!(rules.with_user(&[]).unwrap(), Rules::builtin());
}
