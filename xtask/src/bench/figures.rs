//! What was measured, and what is made of it.

use std::collections::BTreeMap;

/// What came of one turn of load.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Requests answered in a second.
    pub per_second: f64,
    /// Half of the answers came within this time.
    pub p50_us: f64,
    /// All but one in a hundred came within this time.
    pub p99_us: f64,
    /// All but one in a thousand.
    pub p999_us: f64,
    /// What the server's processes used of the processor, for a thousand requests.
    pub cpu_seconds_per_1000: f64,
    /// How much of its core the load generator used: near 1, it is the limit rather than the server.
    pub load_cores: f64,
}

impl Turn {
    /// How many cores the server kept busy.
    pub fn cores(&self) -> f64 {
        self.cpu_seconds_per_1000 * self.per_second / 1000.0
    }
}

/// All turns, by what was measured, in the order of the rounds.
pub struct Rounds<K> {
    turns: BTreeMap<K, Vec<Turn>>,
}

impl<K> Default for Rounds<K> {
    fn default() -> Self {
        Self { turns: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Rounds<K> {
    /// Adds the next round's turn.
    pub fn add(&mut self, key: K, turn: Turn) {
        self.turns.entry(key).or_default().push(turn);
    }

    /// What was measured.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.turns.keys().copied()
    }

    /// The median over the rounds.
    pub fn median(&self, key: K, figure: impl Fn(&Turn) -> f64) -> f64 {
        median(self.turns(key).iter().map(figure).collect())
    }

    /// The same, with the bounds of the half of the rounds around it.
    pub fn quartiles(&self, key: K, figure: impl Fn(&Turn) -> f64) -> Quartiles {
        Quartiles::of(self.turns(key).iter().map(figure).collect())
    }

    /// A figure as a part of another's: the median of the rounds' ratios.
    pub fn ratio(&self, key: K, to: K, figure: impl Fn(&Turn) -> f64) -> f64 {
        self.ratios(key, to, figure).median
    }

    /// The same, with the bounds of the half of the rounds around it.
    pub fn ratios(&self, key: K, to: K, figure: impl Fn(&Turn) -> f64) -> Quartiles {
        let pairs = self.turns(key).iter().zip(self.turns(to));
        Quartiles::of(pairs.map(|(one, other)| figure(one) / figure(other)).collect())
    }

    fn turns(&self, key: K) -> &[Turn] {
        self.turns.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// The median of several values, and the bounds of the half of them around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// A quarter of them is below.
    pub lower: f64,
    /// Half of them is below.
    pub median: f64,
    /// A quarter of them is above.
    pub upper: f64,
}

impl Quartiles {
    /// Between values where a quarter ends between two. Of none, no numbers.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: f64| {
            let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
            let place = quarter * last as f64 / 4.0;
            let below = values[place.floor() as usize];
            below + (values[place.ceil() as usize] - below) * place.fract()
        };
        Self { lower: at(1.0), median: at(2.0), upper: at(3.0) }
    }

    /// How far the half of the values around the median reaches from end to end.
    pub fn spread(&self) -> f64 {
        self.upper - self.lower
    }
}

/// The middle one; of an even number, the mean of the two in the middle. Of none, not a number.
pub fn median(values: Vec<f64>) -> f64 {
    Quartiles::of(values).median
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(per_second: f64) -> Turn {
        Turn { per_second, p50_us: 100.0, p99_us: 200.0, p999_us: 300.0, cpu_seconds_per_1000: 0.02, load_cores: 0.5 }
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn half_of_the_values_are_between_the_quartiles() {
        assert_eq!(Quartiles::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]), Quartiles { lower: 2.0, median: 3.0, upper: 4.0 });
        assert_eq!(Quartiles::of(vec![1.0, 2.0, 3.0, 4.0]), Quartiles { lower: 1.75, median: 2.5, upper: 3.25 });
        assert_eq!(Quartiles::of(vec![7.0]), Quartiles { lower: 7.0, median: 7.0, upper: 7.0 });
        assert_eq!(Quartiles::of(vec![1.0, 2.0, 3.0, 4.0]).spread(), 1.5);
    }

    #[test]
    fn a_ratio_compares_within_a_round() {
        let mut rounds = Rounds::default();
        // The machine was half as fast in the second round, for both.
        for (ours, hyper) in [(50.0, 100.0), (25.0, 50.0), (60.0, 100.0)] {
            rounds.add("ours", turn(ours));
            rounds.add("hyper", turn(hyper));
        }
        assert_eq!(rounds.ratio("ours", "hyper", |turn| turn.per_second), 0.5);
    }

    #[test]
    fn cores_are_what_was_used_in_a_second() {
        assert_eq!(turn(50_000.0).cores(), 1.0);
    }
}
