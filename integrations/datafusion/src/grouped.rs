//! With GROUP BY: a state for each group, and each row finds its own.

use arrow::array::{Array, ArrayRef, BooleanArray};
use batchnorm::{Batch, Element, Isa, Layout, Path};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::accumulate;

use crate::column::{Float, primitive};
use crate::external;
use crate::group::Group;
use crate::partial::{self, Partial};
use crate::statistic::Statistic;

/// From so many neighbouring rows of one group on, the crate's kernel and a merge are faster than single rows.
const RUN: usize = 256;

/// All groups of one aggregate.
pub(crate) struct Groups<T> {
    statistic: Statistic,
    groups: Vec<Group>,
    values: std::marker::PhantomData<T>,
}

impl<T: Float> Groups<T> {
    pub(crate) fn new(statistic: Statistic) -> Self {
        Groups { statistic, groups: Vec::new(), values: std::marker::PhantomData }
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
                for (x, group) in values[start..end].iter().zip(&group_indices[start..end]) {
                    self.groups[*group].push(x.to_f64());
                }
                start = end;
            }
        }
        Ok(())
    }

    fn push_run(&mut self, group: usize, values: &[T::Native]) -> Result<()> {
        let batch = Batch::new(values, Layout::nc(values.len(), 1)).map_err(external)?;
        let run = Path::Simd(Isa::detect()).moments(batch);
        self.groups[group].merge(Partial::from_moments(&run))
    }
}

impl<T: Float> GroupsAccumulator for Groups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let column = primitive::<T>(values)?;
        check_rows(column.len(), group_indices)?;
        self.groups.resize(total_num_groups, Group::default());
        if opt_filter.is_none() && column.null_count() == 0 {
            return self.push_all(column.values(), group_indices);
        }
        let groups = &mut self.groups[..];
        accumulate(group_indices, column, opt_filter, |group, x| groups[group].push(x.to_f64()));
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        let rows: Vec<Partial> = groups.iter().map(Group::partial).collect();
        Ok(self.statistic.array(&rows))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emit_to.take_needed(&mut self.groups);
        partial::write(groups.iter().map(Group::partial))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let states = partial::read(values)?;
        check_rows(states.len(), group_indices)?;
        self.groups.resize(total_num_groups, Group::default());
        for (state, group) in states.zip(group_indices) {
            let group = &mut self.groups[*group];
            match state.count {
                0 => {}
                // A row that was not aggregated before, as most are where groups are small.
                1 if state.m2[0] == 0.0 => group.push(state.mean[0]),
                _ => group.merge(state)?,
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let column = primitive::<T>(values)?;
        let counts = |row: usize| {
            column.is_valid(row) && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
        };
        partial::write(
            (0..column.len())
                .map(|row| if counts(row) { Partial::of_value(column.value(row).to_f64()) } else { Partial::EMPTY }),
        )
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.groups.capacity() * size_of::<Group>()
    }
}

fn check_rows(rows: usize, group_indices: &[usize]) -> Result<()> {
    if rows == group_indices.len() {
        return Ok(());
    }
    exec_err!("{rows} rows were given {} group indices", group_indices.len())
}
