//! The redactor against its oracle: small cases that shrink, very many that don't,
//! and those that were kept.

use proptest::prelude::*;

use super::*;

#[path = "../../tests/it/seeds.rs"]
mod seeds;

/// Cases when nothing else is said; `make fuzz` says more.
const CASES_DEFAULT: u64 = 100_000;

#[test]
fn a_hundred_thousand_inputs_in_any_pieces_give_what_the_oracle_gives() {
    seeds::each(CASES_DEFAULT, 40, check_bytes);
}

#[test]
fn every_kept_input_gives_what_the_oracle_gives() {
    seeds::each_kept("redact_oracle", check_bytes);
}

fn input(genes: &[u16]) -> Vec<u8> {
    let pieces = genes
        .iter()
        .map(|it| &PIECES[usize::from(*it) % PIECES.len()]);
    pieces.flatten().copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_and_any_flush_give_what_the_oracle_gives(
        genes in prop::collection::vec(any::<u16>(), 0..9),
        cuts in prop::collection::vec(0u8..24, 1..8),
        case in 0usize..2,
        limit in limits(),
    ) {
        check(&CASES[case], &input(&genes), &cuts, limit);
    }

    // Apart, so that the two run side by side.
    #[test]
    fn any_split_and_any_flush_give_what_the_oracle_gives_with_few_rules_or_values(
        genes in prop::collection::vec(any::<u16>(), 0..9),
        cuts in prop::collection::vec(0u8..24, 1..8),
        case in 2usize..4,
        limit in limits(),
    ) {
        check(&CASES[case], &input(&genes), &cuts, limit);
    }
}

fn limits() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![8, 40, 64 * 1024])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn single_bytes_with_a_flush_after_each_give_the_same(
        genes in prop::collection::vec(any::<u16>(), 0..10),
        case in 0usize..4,
    ) {
        check(&CASES[case], &input(&genes), &[1, 0], 64 * 1024);
    }

    #[test]
    fn random_bytes_without_a_secret_pass_unchanged(
        bytes in prop::collection::vec(0x80u8..=0xff, 0..200),
        cuts in prop::collection::vec(0u8..24, 1..8),
    ) {
        prop_assert_eq!(redact(&CASES[0].secrets[0], &bytes, &cuts, 64), bytes);
    }
}
