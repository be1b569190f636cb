//! The values of one series over one block of ticks, packed: a value that stays costs a
//! few bits, a counter that grows by little a byte.

/// A series wasn't there at this tick. A `NaN` that no arithmetic makes, and the one
/// that Prometheus writes into its own storage.
const GONE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Repeats that one token holds.
const RUN_MAX: u16 = 0x80;
/// Tokens below are repeats of the value before, less one.
const DELTA: u8 = 0x80;
/// The eight bytes of the value follow.
const RAW: u8 = 0x81;
/// From here on, the token is itself a whole difference, in zigzag.
const SMALL: u8 = 0x82;
/// How many of those there are.
const SMALL_COUNT: u64 = 0x100 - SMALL as u64;
/// Whole numbers up to here are exact, and so are their differences.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A packed column. Values are pushed in order, one a tick from `first` on.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// Tick of the block at which it begins.
    first: u16,
    /// How often the last value was repeated since the last token.
    run: u16,
    start: f64,
    last: f64,
    tokens: Vec<u8>,
}

impl Column {
    /// A column that begins at tick `first` with `value`; `None` is "not there".
    pub(super) fn new(first: u16, value: Option<f64>) -> Self {
        let start = packed(value);
        Self {
            first,
            run: 0,
            start,
            last: start,
            tokens: Vec::new(),
        }
    }

    /// The next tick's value.
    pub(super) fn push(&mut self, value: Option<f64>) {
        let value = packed(value);
        if value.to_bits() == self.last.to_bits() {
            self.run += 1;
            if self.run == RUN_MAX {
                self.end_run();
            }
            return;
        }
        self.end_run();
        match whole_difference(self.last, value) {
            Some(zigzag) if zigzag < SMALL_COUNT => {
                self.tokens
                    .push(SMALL + u8::try_from(zigzag).expect("it is below SMALL_COUNT"));
            }
            Some(zigzag) => {
                self.tokens.push(DELTA);
                push_varint(&mut self.tokens, zigzag);
            }
            None => {
                self.tokens.push(RAW);
                self.tokens.extend(value.to_bits().to_le_bytes());
            }
        }
        self.last = value;
    }

    fn end_run(&mut self) {
        if self.run > 0 {
            let less_one = u8::try_from(self.run - 1).expect("a run ends at RUN_MAX");
            self.tokens.push(less_one);
            self.run = 0;
        }
    }

    /// Whether the series was there at the last tick.
    pub(super) fn is_there(&self) -> bool {
        self.last.to_bits() != GONE_BITS
    }

    /// The column as it was before the block's tick `end`; `None` when it began there or
    /// later.
    pub(super) fn before(self, end: usize) -> Option<Self> {
        if usize::from(self.first) >= end {
            return None;
        }
        let mut cut: Option<Self> = None;
        self.each(|tick, value| match &mut cut {
            None => cut = Some(Self::new(self.first, value)),
            Some(cut) if tick < end => cut.push(value),
            Some(_) => {}
        });
        cut
    }

    /// Gives back what was kept for more.
    pub(super) fn close(&mut self) {
        self.tokens.shrink_to_fit();
    }

    /// Bytes that it holds beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.tokens.capacity()
    }

    /// Shows every value with its tick; `None` where the series wasn't there.
    pub(super) fn each(&self, mut each: impl FnMut(usize, Option<f64>)) {
        let mut tick = usize::from(self.first);
        let mut show = |value: f64| {
            each(tick, (value.to_bits() != GONE_BITS).then_some(value));
            tick += 1;
        };
        let mut value = self.start;
        show(value);
        let mut rest = self.tokens.as_slice();
        while let [token, after @ ..] = rest {
            rest = after;
            match *token {
                DELTA => {
                    let (zigzag, after) = read_varint(rest);
                    rest = after;
                    value += unzigzag(zigzag);
                    show(value);
                }
                RAW => {
                    let (bytes, after) = rest.split_at(8);
                    rest = after;
                    value = f64::from_bits(u64::from_le_bytes(
                        bytes.try_into().expect("eight bytes were split off"),
                    ));
                    show(value);
                }
                run if run < DELTA => (0..=run).for_each(|_| show(value)),
                small => {
                    value += unzigzag(u64::from(small - SMALL));
                    show(value);
                }
            }
        }
        (0..self.run).for_each(|_| show(value));
    }
}

fn packed(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::from_bits(GONE_BITS))
}

/// The difference in zigzag, where both are whole and small enough that adding it gives
/// the very same bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both are whole and below 2^53, and zigzag is never negative"
)]
fn whole_difference(from: f64, to: f64) -> Option<u64> {
    let is_whole = |it: f64| it.fract() == 0.0 && it.abs() < WHOLE_MAX / 2.0;
    // A zero of the other sign is equal and has other bits.
    if !is_whole(from) || !is_whole(to) || from == to {
        return None;
    }
    let difference = (to - from) as i64;
    Some(((difference << 1) ^ (difference >> 63)) as u64)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "a difference of whole numbers below 2^53"
)]
fn unzigzag(zigzag: u64) -> f64 {
    ((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)) as f64
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn read_varint(mut rest: &[u8]) -> (u64, &[u8]) {
    let (mut value, mut shift) = (0, 0);
    while let [byte, after @ ..] = rest {
        rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (value, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[Option<f64>]) -> Column {
        let mut column = Column::new(3, values[0]);
        for value in &values[1..] {
            column.push(*value);
        }
        let mut seen = Vec::new();
        column.each(|tick, value| seen.push((tick, value.map(f64::to_bits))));
        let expected: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(at, value)| (at + 3, value.map(f64::to_bits)))
            .collect();
        assert_eq!(seen, expected);
        column
    }

    #[test]
    fn every_value_comes_back_with_all_its_bits() {
        let odd = [
            0.0,
            -0.0,
            0.0,
            1.0,
            0.1,
            -1.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            9_007_199_254_740_993.0,
            -9_007_199_254_740_992.0,
            4_503_599_627_370_495.0,
            -4_503_599_627_370_495.0,
            62.0,
            0.0,
            63.0,
            0.0,
            -63.0,
            64.0,
            1e6,
        ];
        let mut values: Vec<Option<f64>> = Vec::new();
        for (at, one) in odd.into_iter().enumerate() {
            values.extend(vec![Some(one); 1 + at % 3]);
            if at.is_multiple_of(4) {
                values.push(None);
            }
        }
        check(&values);
        check(&[None, None, Some(1.0), None]);
        check(&vec![Some(5.0); 1_000]);
        // Numbers of a simple generator: no pattern that the packing knows of.
        let mut state = 7_u64;
        let walk: Vec<_> = (0..500)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                Some(if state.is_multiple_of(3) {
                    f64::from_bits(state)
                } else {
                    (state >> 40) as f64
                })
            })
            .filter(|it| it.is_some_and(|it| it.to_bits() != GONE_BITS))
            .collect();
        check(&walk);
    }

    #[test]
    fn a_column_can_be_cut_and_goes_on_from_there() {
        let values = [Some(1.0), Some(1.0), None, Some(0.5), Some(7.0)];
        for end in 0..=values.len() + 1 {
            let column = check(&values).before(3 + end);
            let Some(mut column) = column else {
                assert_eq!(end, 0);
                continue;
            };
            column.push(Some(9.0));
            let mut seen = Vec::new();
            column.each(|_, value| seen.push(value));
            let kept = values.into_iter().take(end);
            assert_eq!(seen, kept.chain([Some(9.0)]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_value_that_stays_costs_nothing_and_a_slow_counter_a_byte_a_tick() {
        let still = check(&[Some(17.25); 120]);
        assert_eq!(still.tokens.len(), 0);
        let slow: Vec<_> = (0..120).map(|at| Some(f64::from(at * 3))).collect();
        assert_eq!(check(&slow).tokens.len(), 119);
    }
}
