//! Runs: contiguous values to map.

use core::ops::Range;

use crate::lanes::LoadStore;

/// A run of values to map from the inputs to `y`. In place, `y` is also the first input, and the slice of the first
/// input is empty.
pub(super) struct Run<'a, T, const I: usize> {
    pub(super) inputs: [&'a [T]; I],
    pub(super) y: &'a mut [T],
    /// Whether `y` is also the first input. A value, not a type: loops take the one slice or the other before they
    /// start, and one kernel serves both.
    pub(super) in_place: bool,
    /// The distance in values to the same columns of the next row, if those are read next rather than the values that
    /// follow this run. It serves as prefetch distance.
    pub(super) next_row: Option<usize>,
}

impl<'a, T, const I: usize> Run<'a, T, I> {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.y.len()
    }

    #[inline(always)]
    pub(super) fn part(&mut self, part: Range<usize>) -> Run<'_, T, I> {
        let mut inputs = self.inputs;
        for (index, x) in inputs.iter_mut().enumerate() {
            if !(self.in_place && index == 0) {
                *x = &x[part.clone()];
            }
        }
        Run { inputs, y: &mut self.y[part], in_place: self.in_place, next_row: self.next_row }
    }

    /// Splits the run into its first `at` values (or all of them, if there are fewer) and the rest.
    #[inline(always)]
    pub(super) fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.min(self.y.len());
        let (y, y_tail) = self.y.split_at_mut(at);
        let (mut inputs, mut tails) = (self.inputs, self.inputs);
        for index in 0..I {
            if !(self.in_place && index == 0) {
                (inputs[index], tails[index]) = inputs[index].split_at(at);
            }
        }
        let (in_place, next_row) = (self.in_place, self.next_row);
        (Run { inputs, y, in_place, next_row }, Run { inputs: tails, y: y_tail, in_place, next_row })
    }

    /// Returns the values of one of the inputs.
    #[inline(always)]
    pub(super) fn input(&self, index: usize) -> &[T] {
        if self.in_place && index == 0 { self.y } else { self.inputs[index] }
    }

    /// Loads a vector of each input.
    #[inline(always)]
    pub(super) fn load<L: LoadStore<T>>(&self, token: L::Token, at: usize) -> [L; I] {
        let mut inputs = [L::load_from(token, &self.input(0)[at..]); I];
        for index in 1..I {
            inputs[index] = L::load_from(token, &self.input(index)[at..]);
        }
        inputs
    }
}
