//! The best k of a stream: a bounded max-heap, whose top is the worst of those kept.
#![forbid(unsafe_code)]

/// An `f32` in `total_cmp`'s order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ordered(pub f32);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Keeps the `k` smallest items pushed.
///
/// Which of several equal items are kept is not defined; an order without ties (score, then id) leaves no choice.
#[derive(Clone, Debug)]
pub struct TopK<T> {
    k: usize,
    /// A binary max-heap: `heap[i]` is not less than `heap[2i + 1]` and `heap[2i + 2]`.
    heap: Vec<T>,
}

impl<T: Ord> TopK<T> {
    /// Room for `k` items, allocated here once.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self {
            k,
            heap: Vec::with_capacity(k),
        }
    }

    /// The same, with room made as items come: for a `k` that may be far more than there are.
    #[must_use]
    pub fn growing(k: usize) -> Self {
        Self {
            k,
            heap: Vec::new(),
        }
    }

    /// Offers an item; whether it was kept. When `k` are held, it must be less than the worst, which then goes.
    #[inline]
    pub fn push(&mut self, item: T) -> bool {
        if self.heap.len() < self.k {
            self.heap.push(item);
            self.sift_up(self.heap.len() - 1);
            return true;
        }
        match self.heap.first_mut() {
            Some(worst) if item < *worst => {
                *worst = item;
                self.sift_down(0);
                true
            }
            _ => false,
        }
    }

    /// The worst item kept, once `k` are: only items less than it will be kept. Before that, any will.
    #[must_use]
    #[inline]
    pub fn worst(&self) -> Option<&T> {
        if self.heap.len() == self.k {
            self.heap.first()
        } else {
            None
        }
    }

    /// How many items are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The items kept, in no order: what they are ordered by is not to be changed.
    pub fn items_mut(&mut self) -> &mut [T] {
        &mut self.heap
    }

    /// The items kept, best first.
    #[must_use]
    pub fn into_sorted_vec(mut self) -> Vec<T> {
        self.heap.sort_unstable();
        self.heap
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[at] <= self.heap[parent] {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let larger = if right < self.heap.len() && self.heap[right] > self.heap[left] {
                right
            } else {
                left
            };
            if self.heap[larger] <= self.heap[at] {
                break;
            }
            self.heap.swap(at, larger);
            at = larger;
        }
    }
}

/// Numbers with the smallest keys of a stream, where some tens are wanted of some thousands. Cut back when twice as many are held, it takes a
/// third of the time a heap does.
#[derive(Clone, Debug, Default)]
pub struct Smallest {
    k: usize,
    /// The key's bits in `total_cmp`'s order, above the number's.
    kept: Vec<u64>,
    limit: f32,
}

impl Smallest {
    /// Forgets all; from now on `k` are kept. Panics if that is none.
    pub fn clear(&mut self, k: usize) {
        assert!(k > 0, "none of the smallest");
        self.k = k;
        self.kept.clear();
        self.limit = f32::INFINITY;
    }

    /// Offers a number; answers a key above which none will be kept.
    #[inline]
    pub fn push(&mut self, key: f32, number: u32) -> f32 {
        self.kept
            .push(u64::from(ascending(key)) << 32 | u64::from(number));
        if self.kept.len() == 2 * self.k {
            self.cut();
        }
        self.limit
    }

    #[cold]
    fn cut(&mut self) {
        if self.kept.len() > self.k {
            let (_, last, _) = self.kept.select_nth_unstable(self.k - 1);
            self.limit = of_ascending((*last >> 32) as u32);
            self.kept.truncate(self.k);
        }
    }

    /// Those with the `k` smallest keys, or all, in no order.
    pub fn numbers(&mut self) -> impl Iterator<Item = u32> + '_ {
        self.cut();
        self.kept.iter().map(|kept| *kept as u32)
    }
}

/// Bits that compare as `total_cmp` does.
#[inline]
fn ascending(key: f32) -> u32 {
    let bits = key.to_bits();
    let negative = (bits.cast_signed() >> 31).cast_unsigned();
    bits ^ (negative | 1 << 31)
}

#[inline]
fn of_ascending(bits: u32) -> f32 {
    let positive = (bits.cast_signed() >> 31).cast_unsigned();
    f32::from_bits(bits ^ (!positive | 1 << 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_worst_is_known_only_when_full() {
        let mut top = TopK::new(2);
        assert!(top.is_empty());
        assert!(top.push(5));
        assert_eq!(top.worst(), None);
        assert!(top.push(9));
        assert_eq!(top.worst(), Some(&9));
        assert!(!top.push(9), "an equal item does not displace the worst");
        assert!(top.push(1));
        assert_eq!((top.len(), top.worst()), (2, Some(&5)));
        assert_eq!(top.into_sorted_vec(), [1, 5]);
    }

    #[test]
    fn none_is_kept_of_none_asked() {
        let mut top = TopK::new(0);
        assert!(!top.push(1));
        assert_eq!(top.worst(), None);
        assert!(top.into_sorted_vec().is_empty());
    }

    proptest! {
        #[test]
        fn the_smallest_are_those_of_a_sort(keys in prop::collection::vec(any::<f32>(), 1..300), k in 1usize..40) {
            let mut smallest = Smallest::default();
            smallest.clear(k);
            let mut limit = f32::INFINITY;
            for (number, &key) in keys.iter().enumerate() {
                prop_assert_eq!(of_ascending(ascending(key)).to_bits(), key.to_bits());
                let next = smallest.push(key, number as u32);
                prop_assert!(next.total_cmp(&limit).is_le() || limit == f32::INFINITY);
                limit = next;
            }
            let mut expected: Vec<u32> = (0..keys.len() as u32).collect();
            expected.sort_by(|a, b| keys[*a as usize].total_cmp(&keys[*b as usize]).then(a.cmp(b)));
            expected.truncate(k);
            expected.sort_unstable();
            let mut found: Vec<u32> = smallest.numbers().collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn it_is_sort_and_truncate(items in prop::collection::vec(0u16..500, 0..300), k in 0usize..50) {
            let mut top = TopK::new(k);
            let room = top.heap.capacity();
            for (seen, &item) in items.iter().enumerate() {
                let mut before = items[..seen].to_vec();
                before.sort_unstable();
                let kept = k > 0 && before.get(k - 1).is_none_or(|worst| item < *worst);
                prop_assert_eq!(top.push(item), kept);
            }
            prop_assert_eq!(top.heap.capacity(), room);
            let mut expected = items;
            expected.sort_unstable();
            expected.truncate(k);
            prop_assert_eq!(top.into_sorted_vec(), expected);
        }
    }
}
