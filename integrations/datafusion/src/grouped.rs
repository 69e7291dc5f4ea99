//! With GROUP BY: a state for each group, and each row finds its own.

use std::marker::PhantomData;

use arrow::array::{Array, ArrayRef, BooleanArray};
use batchnorm::{Batch, Element, Isa, Layout, Path};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::accumulate;

use crate::column::{Float, primitive};
use crate::external;
use crate::partial::{self, Partial, State};
use crate::statistic::Statistic;

/// From so many neighbouring rows of one group on, the crate's kernel and a merge are faster than single rows.
const RUN: usize = 256;

/// The states of all groups.
pub(crate) trait Store: Default + Send + 'static {
    /// Sets the number of groups. New ones have no rows.
    fn resize(&mut self, groups: usize);

    /// Returns a closure that adds a value to a group.
    fn pushing(&mut self) -> impl FnMut(usize, f64) + Send;

    /// Adds the values of a partial state to a group.
    ///
    /// # Errors
    /// If there would be too many values, or if the state was damaged.
    fn merge(&mut self, at: usize, rows: Partial) -> Result<()>;

    /// Removes the first groups, or all, and returns their states.
    fn take(&mut self, emit_to: EmitTo) -> impl ExactSizeIterator<Item = Partial> + use<Self>;

    /// Returns the bytes that the states take.
    fn size(&self) -> usize;
}

/// All groups of one aggregate.
pub(crate) struct Groups<T, S> {
    statistic: Statistic,
    states: S,
    values: PhantomData<T>,
}

impl<T: Float, S: Store> Groups<T, S> {
    pub(crate) fn new(statistic: Statistic) -> Self {
        Groups { statistic, states: S::default(), values: PhantomData }
    }

    /// Adds rows without nulls. Long runs of one group, as in sorted data, go through the crate's kernel.
    fn push_all(&mut self, values: &[T::Native], group_indices: &[usize]) -> Result<()> {
        let mut start = 0;
        while start < values.len() {
            let (group, end) = (group_indices[start], (start + RUN).min(values.len()));
            if end - start == RUN && group_indices[start..end].iter().all(|index| *index == group) {
                let more = group_indices[end..].iter().take_while(|index| **index == group).count();
                self.push_run(group, &values[start..end + more])?;
                start = end + more;
            } else {
                let mut push = self.states.pushing();
                for (x, group) in values[start..end].iter().zip(&group_indices[start..end]) {
                    push(*group, x.to_f64());
                }
                start = end;
            }
        }
        Ok(())
    }

    fn push_run(&mut self, group: usize, values: &[T::Native]) -> Result<()> {
        let batch = Batch::new(values, Layout::nc(values.len(), 1)).map_err(external)?;
        let run = Path::Simd(Isa::detect()).moments(batch);
        self.states.merge(group, Partial::from_moments(&run))
    }
}

impl<T: Float, S: Store> GroupsAccumulator for Groups<T, S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let column = primitive::<T>(values)?;
        check_rows(column.len(), group_indices)?;
        self.states.resize(total_num_groups);
        if opt_filter.is_none() && column.null_count() == 0 {
            return self.push_all(column.values(), group_indices);
        }
        let mut push = self.states.pushing();
        accumulate(group_indices, column, opt_filter, |group, x| push(group, x.to_f64()));
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.statistic.array(self.states.take(emit_to)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        partial::write(self.states.take(emit_to))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let states = partial::read(values)?;
        check_rows(states.len(), group_indices)?;
        self.states.resize(total_num_groups);
        for (row, group) in group_indices.iter().enumerate() {
            match states.get(row) {
                State::Value(x) => self.states.pushing()(*group, x),
                State::Partial(rows) => self.states.merge(*group, rows)?,
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let column = primitive::<T>(values)?;
        if opt_filter.is_none() && column.null_count() == 0 {
            return partial::write_values::<T>(column.values());
        }
        let counts = |row: usize| {
            column.is_valid(row) && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
        };
        partial::write(
            (0..column.len())
                .map(|row| if counts(row) { Partial::of_value(column.value(row).to_f64()) } else { Partial::EMPTY }),
        )
    }

    fn size(&self) -> usize {
        size_of_val(self) - size_of_val(&self.states) + self.states.size()
    }
}

fn check_rows(rows: usize, group_indices: &[usize]) -> Result<()> {
    if rows == group_indices.len() {
        return Ok(());
    }
    exec_err!("{rows} rows were given {} group indices", group_indices.len())
}
