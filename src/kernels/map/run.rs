//! Runs: contiguous values to map.

use std::ops::Range;

use crate::lanes::LoadStore;

/// A run of values to map from the inputs to `y`. In place, `y` is also the first input, and the slice of the first
/// input is empty.
pub(super) struct Run<'a, T, const I: usize, const IN_PLACE: bool> {
    pub(super) inputs: [&'a [T]; I],
    pub(super) y: &'a mut [T],
    /// The distance in values to the same columns of the next row, if those are read next rather than the values that
    /// follow this run. It serves as prefetch distance.
    pub(super) next_row: Option<usize>,
}

impl<'a, T, const I: usize, const IN_PLACE: bool> Run<'a, T, I, IN_PLACE> {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.y.len()
    }

    #[inline(always)]
    pub(super) fn part(&mut self, part: Range<usize>) -> Run<'_, T, I, IN_PLACE> {
        let mut inputs = self.inputs;
        for (index, x) in inputs.iter_mut().enumerate() {
            if !(IN_PLACE && index == 0) {
                *x = &x[part.clone()];
            }
        }
        Run { inputs, y: &mut self.y[part], next_row: self.next_row }
    }

    /// Splits the run into its first `at` values (or all of them, if there are fewer) and the rest.
    #[inline(always)]
    pub(super) fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.min(self.y.len());
        let (y, y_tail) = self.y.split_at_mut(at);
        let (mut inputs, mut tails) = (self.inputs, self.inputs);
        for (index, (x, tail)) in inputs.iter_mut().zip(&mut tails).enumerate() {
            if !(IN_PLACE && index == 0) {
                (*x, *tail) = x.split_at(at);
            }
        }
        let next_row = self.next_row;
        (Run { inputs, y, next_row }, Run { inputs: tails, y: y_tail, next_row })
    }

    /// Returns the values of one of the inputs.
    #[inline(always)]
    pub(super) fn input(&self, index: usize) -> &[T] {
        if IN_PLACE && index == 0 { self.y } else { self.inputs[index] }
    }

    /// Loads a vector of each input.
    #[inline(always)]
    pub(super) fn load<L: LoadStore<T>>(&self, token: L::Token, at: usize) -> [L; I] {
        let mut inputs = [L::load_from(token, &self.input(0)[at..]); I];
        for (index, input) in inputs.iter_mut().enumerate() {
            *input = L::load_from(token, &self.input(index)[at..]);
        }
        inputs
    }
}
