//! What it costs to find the nearest of the rows that match a filter: by their codes, or told by an ordinary index which they are.
#![forbid(unsafe_code)]

/// Microseconds, reckoned from the times of whole queries of 62,000 real vectors of 384 dimensions, all in memory, not measured one by one: what looking
/// at a row costs where all that match are looked at in the order of their places, …
const ROW_IN_ORDER: f64 = 0.12;
/// … where the nearest by their codes are, …
const ROW_BY_CODE: f64 = 0.8;
/// … what a code does, its share of a page included, …
const CODE: f64 = 0.005;
/// … and what it does to be told of a row by a B-tree and by a GIN index, which collects them all before it tells any.
pub const TOLD_BY_BTREE: f64 = 0.02;
pub const TOLD_BY_GIN: f64 = 0.07;
/// Of so many times k rows it is the vectors that tell which are the nearest.
const LOOKED_AT: f64 = 3.0;
/// A search of a tree looks at 1 − e⁻ˣ of all codes, x = 13 · (k / rows)^0.4 · rows / matching rows: measured at a recall goal of 0.95 and k = 10 a third of all
/// where all match, 0.55 where a half do, 0.97 where a tenth do.
const CODES_POWER: f64 = 0.4;
const CODES_FACTOR: f64 = 13.0;

/// A search under a filter.
#[derive(Clone, Copy, Debug)]
pub struct Reckoning {
    /// All rows.
    pub rows: f64,
    /// How many are wanted.
    pub k: f64,
}

impl Reckoning {
    /// By the codes, if so many match and one in so many of those looked at does.
    #[must_use]
    pub fn by_codes(self, matching: f64, one_in: f64) -> f64 {
        let of_all = CODES_FACTOR * (self.k / self.rows.max(1.0)).powf(CODES_POWER);
        let share = 1.0 - (-of_all * self.rows / matching.max(1.0)).exp();
        self.rows * CODE * share + self.k * LOOKED_AT * one_in.max(1.0) * ROW_BY_CODE
    }

    /// Told which they are, at a price for each.
    #[must_use]
    pub fn told(self, matching: f64, each: f64) -> f64 {
        let in_order = matching * ROW_IN_ORDER;
        matching * each + in_order.min(self.by_codes(matching, 1.0))
    }

    /// So few rows, once they are known, are sooner looked at all in the order of their places than searched by their codes.
    #[must_use]
    pub fn few(self) -> usize {
        // Where all codes are looked at; where it is fewer, for the more match, a step or two of m · ROW_IN_ORDER = by_codes(m) find how many.
        let mut few = self.by_codes(1.0, 1.0) / ROW_IN_ORDER;
        for _ in 0..STEPS {
            few = few.midpoint(self.by_codes(few, 1.0) / ROW_IN_ORDER);
        }
        few as usize
    }
}

/// Each halves the error, or better.
const STEPS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_cost_as_much_either_way() {
        for (rows, k) in [(62_436.0, 10.0), (1e6, 10.0), (4e5, 100.0)] {
            let reckoning = Reckoning { rows, k };
            let few = reckoning.few() as f64;
            let (in_order, by_codes) = (few * ROW_IN_ORDER, reckoning.by_codes(few, 1.0));
            assert!(
                (0.8..1.01).contains(&(in_order / by_codes)),
                "{rows}: {few}"
            );
        }
        // Of a small table all that match.
        let small = Reckoning {
            rows: 1000.0,
            k: 500.0,
        };
        assert!(small.few() > 1000);
    }

    #[test]
    fn it_is_worth_being_told_of_few_rows_not_of_many() {
        let pays = |rows: f64, matching: f64, one_in: f64, each: f64| {
            let reckoning = Reckoning { rows, k: 10.0 };
            reckoning.told(matching, each) < reckoning.by_codes(matching, one_in)
        };
        // One in six that signatures admit does match.
        assert!(pays(62_436.0, 624.0, 6.0, TOLD_BY_GIN));
        assert!(!pays(62_436.0, 6_243.0, 1.4, TOLD_BY_GIN));
        // No signature tells of ranges.
        assert!(pays(62_436.0, 6_243.0, 10.0, TOLD_BY_BTREE));
        assert!(!pays(62_436.0, 31_218.0, 2.0, TOLD_BY_BTREE));
        assert!(pays(1e6, 1_000.0, 40.0, TOLD_BY_GIN));
        assert!(!pays(1e6, 1e5, 1.3, TOLD_BY_GIN));
    }
}
