//! With GROUP BY, of variances: the [`Block`]s and [`Sums`] of all groups.

use datafusion_common::Result;
use datafusion_expr::EmitTo;

use crate::group::{Block, Group, Pushed, Sums};
use crate::grouped::Store;
use crate::partial::Partial;

/// The states of all groups.
#[derive(Debug, Default)]
pub(crate) struct Variances {
    blocks: Vec<Block>,
    /// Of the groups up to the last one that has needed them. Those of the others are 0.
    sums: Vec<Sums>,
}

impl Store for Variances {
    fn resize(&mut self, groups: usize) {
        self.blocks.resize(groups, Block::default());
    }

    fn pushing(&mut self) -> impl FnMut(usize, f64) + Send {
        let (blocks, sums) = (&mut self.blocks[..], &mut self.sums);
        |at, x| {
            let pushed = blocks[at].push(x);
            if pushed != Pushed::Done {
                after(&mut blocks[at], sums_of(sums, at), pushed, x);
            }
        }
    }

    fn merge(&mut self, at: usize, rows: Partial) -> Result<()> {
        if self.blocks[at].merge(rows) {
            return Ok(());
        }
        let sums = self.sums.get(at).copied().unwrap_or_default();
        let mut group = Group { block: self.blocks[at], sums };
        group.merge(rows)?;
        (self.blocks[at], *sums_of(&mut self.sums, at)) = (group.block, group.sums);
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> impl ExactSizeIterator<Item = Partial> + use<> {
        let sums = match emit_to {
            EmitTo::All => std::mem::take(&mut self.sums),
            EmitTo::First(groups) => EmitTo::First(groups.min(self.sums.len())).take_needed(&mut self.sums),
        };
        let blocks = emit_to.take_needed(&mut self.blocks);
        (0..blocks.len()).map(move |at| {
            let sums = sums.get(at).copied().unwrap_or_default();
            Group { block: blocks[at], sums }.partial()
        })
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.blocks.capacity() * size_of::<Block>() + self.sums.capacity() * size_of::<Sums>()
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
