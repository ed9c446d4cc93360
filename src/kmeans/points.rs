//! A sample of vectors, a byte for each element.
#![forbid(unsafe_code)]

use crate::kernel::{kernels, round};

/// A sample: vectors of one dimension, each rounded to whole multiples of a step of its own, at most 127 of them.
#[derive(Clone, Debug, Default)]
pub struct Points {
    dimension: usize,
    steps: Vec<f32>,
    elements: Vec<i8>,
}

impl Points {
    /// None yet.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            dimension,
            ..Self::default()
        }
    }

    /// None yet, with room for so many; where that is not to be had at once, it is made as they come.
    #[must_use]
    pub fn with_room(dimension: usize, count: usize) -> Self {
        let mut points = Self::new(dimension);
        let elements = count.saturating_mul(dimension);
        // A vector that grows takes twice its room, and three times while it moves.
        if points.steps.try_reserve_exact(count).is_ok() {
            let _ = points.elements.try_reserve_exact(elements);
        }
        points
    }

    /// Bytes of one.
    #[must_use]
    pub fn bytes(dimension: usize) -> usize {
        dimension + size_of::<f32>()
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds one, its elements multiplied by `scale`.
    pub fn push(&mut self, point: &[f32], scale: f32) {
        let largest = point.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let step = largest / 127.0;
        let inverse = if step.is_normal() { 1.0 / step } else { 0.0 };
        self.steps.push(step * scale);
        let elements = point.iter().map(|x| round(x * inverse) as i8);
        self.elements.extend(elements);
    }

    /// The largest magnitude an element of any may have.
    #[must_use]
    pub fn largest(&self) -> f32 {
        let largest = self
            .steps
            .iter()
            .fold(0.0, |most: f32, x| most.max(x.abs()));
        largest * 127.0
    }

    /// Writes the elements of one over `to`.
    pub fn read(&self, number: usize, to: &mut Vec<f32>) {
        let (step, from) = (self.steps[number], number * self.dimension);
        let elements = &self.elements[from..][..self.dimension];
        to.resize(self.dimension, 0.0);
        (kernels().multiples)(elements, step, to);
    }
}
