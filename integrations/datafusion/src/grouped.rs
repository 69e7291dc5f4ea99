//! With GROUP BY: a state for each group, and each row finds its own.

use arrow::array::{Array, ArrayRef, BooleanArray};
use batchnorm::{Batch, Element, Isa, Layout, Path};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::accumulate;

use crate::column::{Float, primitive};
use crate::external;
use crate::group::{Block, Group, Pushed, Sums};
use crate::partial::{self, Partial, State};
use crate::statistic::Statistic;

/// From so many neighbouring rows of one group on, the crate's kernel and a merge are faster than single rows.
const RUN: usize = 256;

/// All groups of one aggregate.
pub(crate) struct Groups<T> {
    statistic: Statistic,
    blocks: Vec<Block>,
    /// Of the groups up to the last one that has needed them. Those of the others are 0.
    sums: Vec<Sums>,
    values: std::marker::PhantomData<T>,
}

impl<T: Float> Groups<T> {
    pub(crate) fn new(statistic: Statistic) -> Self {
        Groups { statistic, blocks: Vec::new(), sums: Vec::new(), values: std::marker::PhantomData }
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
                let (blocks, sums) = (&mut self.blocks[..], &mut self.sums);
                for (x, group) in values[start..end].iter().zip(&group_indices[start..end]) {
                    push(blocks, sums, *group, x.to_f64());
                }
                start = end;
            }
        }
        Ok(())
    }

    fn push_run(&mut self, group: usize, values: &[T::Native]) -> Result<()> {
        let batch = Batch::new(values, Layout::nc(values.len(), 1)).map_err(external)?;
        let run = Path::Simd(Isa::detect()).moments(batch);
        self.merge(group, Partial::from_moments(&run))
    }

    fn merge(&mut self, at: usize, rows: Partial) -> Result<()> {
        if self.blocks[at].merge(rows) {
            return Ok(());
        }
        let mut group = self.group(at);
        group.merge(rows)?;
        (self.blocks[at], *sums_of(&mut self.sums, at)) = (group.block, group.sums);
        Ok(())
    }

    fn group(&self, at: usize) -> Group {
        Group { block: self.blocks[at], sums: self.sums.get(at).copied().unwrap_or_default() }
    }

    /// Takes out the first groups, or all.
    fn take(&mut self, emit_to: EmitTo) -> impl ExactSizeIterator<Item = Group> + use<T> {
        let sums = match emit_to {
            EmitTo::All => std::mem::take(&mut self.sums),
            EmitTo::First(groups) => EmitTo::First(groups.min(self.sums.len())).take_needed(&mut self.sums),
        };
        let blocks = emit_to.take_needed(&mut self.blocks);
        (0..blocks.len()).map(move |at| Group { block: blocks[at], sums: sums.get(at).copied().unwrap_or_default() })
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
        self.blocks.resize(total_num_groups, Block::default());
        if opt_filter.is_none() && column.null_count() == 0 {
            return self.push_all(column.values(), group_indices);
        }
        let (blocks, sums) = (&mut self.blocks[..], &mut self.sums);
        accumulate(group_indices, column, opt_filter, |group, x| push(blocks, sums, group, x.to_f64()));
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.statistic.array(self.take(emit_to).map(|group| group.partial())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        partial::write(self.take(emit_to).map(|group| group.partial()))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        let states = partial::read(values)?;
        check_rows(states.len(), group_indices)?;
        self.blocks.resize(total_num_groups, Block::default());
        for (row, group) in group_indices.iter().enumerate() {
            match states.get(row) {
                State::Value(x) => push(&mut self.blocks, &mut self.sums, *group, x),
                State::Partial(rows) => self.merge(*group, rows)?,
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
        size_of_val(self) + self.blocks.capacity() * size_of::<Block>() + self.sums.capacity() * size_of::<Sums>()
    }
}

/// Adds a value to a group.
#[inline(always)]
fn push(blocks: &mut [Block], sums: &mut Vec<Sums>, at: usize, x: f64) {
    let pushed = blocks[at].push(x);
    if pushed != Pushed::Done {
        after(&mut blocks[at], sums_of(sums, at), pushed, x);
    }
}

/// [`Sums::after`], compiled apart from the loops over rows.
#[inline(never)]
fn after(block: &mut Block, sums: &mut Sums, pushed: Pushed, x: f64) {
    sums.after(block, pushed, x);
}

/// Returns the sums of a group, and makes room for them.
fn sums_of(sums: &mut Vec<Sums>, at: usize) -> &mut Sums {
    if sums.len() <= at {
        sums.resize(at + 1, Sums::default());
    }
    &mut sums[at]
}

fn check_rows(rows: usize, group_indices: &[usize]) -> Result<()> {
    if rows == group_indices.len() {
        return Ok(());
    }
    exec_err!("{rows} rows were given {} group indices", group_indices.len())
}
