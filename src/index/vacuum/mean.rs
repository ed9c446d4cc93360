//! The mean of vectors, rotated: what a list's codes are relative to.
#![forbid(unsafe_code)]

use crate::index::state::IndexState;
use crate::quantizer::Centre;

/// The mean of vectors on its way.
pub struct Mean<'s> {
    state: &'s IndexState,
    sums: Vec<f64>,
    rotated: Vec<f32>,
    count: u64,
}

impl<'s> Mean<'s> {
    /// Of no vectors yet.
    pub fn new(state: &'s IndexState) -> Self {
        Self {
            state,
            sums: vec![0.0; state.quantizer.code_bits()],
            rotated: Vec::new(),
            count: 0,
        }
    }

    /// Adds a vector; answers it rotated, and what it is to be multiplied by to be compared with others, if it can be.
    pub fn add(&mut self, vector: &[f32]) -> (&[f32], Option<f32>) {
        let quantizer = &self.state.quantizer;
        quantizer.rotate(vector, &mut self.rotated);
        let scale = Centre::scale(&self.rotated, self.state.metric);
        if let Some(scale) = scale {
            for (sum, element) in self.sums.iter_mut().zip(&self.rotated) {
                *sum += f64::from(*element * scale);
            }
            self.count += 1;
        }
        (&self.rotated, scale)
    }

    /// The mean; the origin if there were no vectors, or none that can be summed.
    pub fn centre(self) -> Centre {
        let count = self.count.max(1) as f64;
        let mean: Vec<f32> = self.sums.iter().map(|sum| (sum / count) as f32).collect();
        let usable = self.count > 0 && mean.iter().all(|element| element.is_finite());
        if usable {
            Centre::new(mean)
        } else {
            Centre::zero(mean.len())
        }
    }
}
