//! Without GROUP BY: the column goes through the crate's kernel.

use arrow::array::{Array, ArrayRef};
use batchnorm::{Accumulator as Rows, Batch, Isa, Layout, Moments, Path};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Accumulator;

use crate::column::{Float, primitive};
use crate::external;
use crate::partial::{self, Partial, State};
use crate::statistic::Statistic;

/// Values that [`Rows`] keeps until they fill a chunk, of a single column.
const CHUNK: usize = 32_768;

/// Bytes that the moments of one column hold outside of themselves: six vectors, which have room for four.
const WORDS_OF_MOMENTS: usize = 6 * 4 * size_of::<f64>();

/// One column, as it arrives.
#[derive(Debug)]
pub(crate) struct Column<T: Float> {
    statistic: Statistic,
    rows: Rows<T::Native>,
    /// Values given to `rows`.
    given: usize,
    /// Rows of other partitions, and all rows before the last reading.
    others: Moments,
    /// Values between nulls.
    valid: Vec<T::Native>,
}

impl<T: Float> Column<T> {
    pub(crate) fn new(statistic: Statistic) -> Result<Self> {
        let (rows, given) = (Self::no_rows()?, 0);
        Ok(Column { statistic, rows, given, others: Moments::new(1), valid: Vec::new() })
    }

    fn no_rows() -> Result<Rows<T::Native>> {
        // The engine has threads of its own: each call stays on the one that makes it.
        Ok(Rows::new(1, 1).map_err(external)?.with_path(Path::Simd(Isa::detect())))
    }

    /// Moves all rows into the moments. A running window reads after each row, so reading must not sum them again.
    fn read(&mut self) -> Result<Partial> {
        if self.given > 0 {
            let rows = std::mem::replace(&mut self.rows, Self::no_rows()?).moments();
            self.others.merge(&rows).map_err(external)?;
            self.given = 0;
        }
        Ok(Partial::from_moments(&self.others))
    }
}

impl<T: Float> Accumulator for Column<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let column = primitive::<T>(values)?;
        let values = match column.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => column.values(),
            Some(nulls) => {
                self.valid.clear();
                for (start, end) in nulls.valid_slices() {
                    self.valid.extend_from_slice(&column.values()[start..end]);
                }
                &self.valid[..]
            }
        };
        let batch = Batch::new(values, Layout::nc(values.len(), 1)).map_err(external)?;
        self.rows.update(batch).map_err(external)?;
        self.given += values.len();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let rows = self.read()?;
        self.statistic.scalar(&rows)
    }

    fn size(&self) -> usize {
        // `Rows` keeps one chunk at most, in a buffer that doubles, and the moments of each level of a tree.
        let kept = CHUNK.min(2 * self.given) + self.valid.capacity();
        let levels = (self.given / CHUNK).checked_ilog2().map_or(0, |log| log as usize + 1);
        let tree = if levels == 0 { 0 } else { levels.next_power_of_two().max(4) * size_of::<(usize, Moments)>() };
        size_of_val(self) + kept * size_of::<T::Native>() + tree + (levels + 1) * WORDS_OF_MOMENTS
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = partial::write(std::iter::once(self.read()?))?;
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = partial::read(states)?;
        for row in 0..states.len() {
            let rows = match states.get(row) {
                State::Value(x) => Partial::of_value(x),
                State::Partial(rows) => rows,
            };
            self.others.merge(&rows.to_moments()?).map_err(external)?;
        }
        Ok(())
    }
}
