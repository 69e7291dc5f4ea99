//! Sliding windows: rows enter at one end and leave at the other.
//!
//! Subtracting a row from sums would leave the rounding errors of all rows that ever were in the window, and an infinity
//! for good. So nothing is subtracted: the rows are in two stacks, as in a queue made of two stacks. The back one takes
//! new rows and has the state of all of them. Each entry of the front one has the state of itself and of all newer rows
//! of that stack, so that the oldest row leaves with its entry. When the front stack is empty, all rows of the back one
//! move there. Each row moves once.

use std::marker::PhantomData;

use arrow::array::{Array, ArrayRef};
use batchnorm::Element;
use datafusion_common::{Result, ScalarValue, exec_err, not_impl_err};
use datafusion_expr::Accumulator;

use crate::column::{Float, primitive};
use crate::group::Group;
use crate::partial;
use crate::statistic::Statistic;

/// The rows of one window.
#[derive(Debug)]
pub(crate) struct Window<T> {
    statistic: Statistic,
    /// For each older row, the state of it and of the rows of this stack that are newer. The oldest row is last.
    front: Vec<Group>,
    /// The newer rows, and the state of them all.
    back: Vec<f64>,
    back_state: Group,
    values: PhantomData<T>,
}

impl<T: Float> Window<T> {
    pub(crate) fn new(statistic: Statistic) -> Self {
        let (front, back, back_state) = Default::default();
        Window { statistic, front, back, back_state, values: PhantomData }
    }

    fn state_of_all(&self) -> Result<Group> {
        let mut all = self.front.last().copied().unwrap_or_default();
        all.merge(self.back_state.partial())?;
        Ok(all)
    }

    /// Moves the rows of the back stack, newest first, to the front stack, which is empty.
    fn turn(&mut self) {
        let mut state = Group::default();
        self.front.extend(self.back.drain(..).rev().map(|x| {
            state.push(x);
            state
        }));
        self.back_state = Group::default();
    }
}

impl<T: Float> Accumulator for Window<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for x in primitive::<T>(values)?.iter().flatten().map(Element::to_f64) {
            self.back.push(x);
            self.back_state.push(x);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let column = primitive::<T>(values)?;
        let (leaving, rows) = (column.len() - column.null_count(), self.front.len() + self.back.len());
        if leaving > rows {
            return exec_err!("{leaving} rows leave a window of {rows}");
        }
        for _ in 0..leaving {
            if self.front.is_empty() {
                self.turn();
            }
            self.front.pop();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.statistic.scalar(&self.state_of_all()?.partial())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.front.capacity() * size_of::<Group>() + self.back.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = partial::write(std::iter::once(self.state_of_all()?.partial()))?;
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("a window whose rows leave again has no partial states to merge")
    }
}
