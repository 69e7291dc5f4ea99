//! What is left of the rows that one accumulator has read: a partial state, as it travels between partitions, processes
//! and machines, and the statistics that are read off it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use batchnorm::{Element, Moments, MomentsParts};
use datafusion_common::{Result, exec_err};
use datafusion_expr::utils::format_state_name;

use crate::column::Float;
use crate::external;

/// Count, mean and sum of squared deviations from the mean (m2) of some rows. The words of the mean and of m2 are those
/// of [`MomentsParts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Partial {
    pub(crate) count: u64,
    pub(crate) mean: [f64; 3],
    pub(crate) m2: [f64; 2],
}

/// What [`fields`] are called, after the aggregate.
const COLUMN: &str = "state";

/// Bytes of a value by itself.
const VALUE: usize = size_of::<f64>();

/// Bytes of a count and five words.
const WORDS: usize = 6 * size_of::<f64>();

impl Partial {
    /// The state of no rows.
    pub(crate) const EMPTY: Partial = Partial { count: 0, mean: [f64::NAN, 0.0, 0.0], m2: [0.0; 2] };

    /// Takes over the first feature of moments.
    pub(crate) fn from_moments(moments: &Moments) -> Self {
        let MomentsParts { counts, means, means_middle, means_low, m2s, m2s_low } = moments.parts();
        Partial { count: counts[0], mean: [means[0], means_middle[0], means_low[0]], m2: [m2s[0], m2s_low[0]] }
    }

    /// Returns moments of one feature.
    ///
    /// # Errors
    /// If no rows have such moments: the state was damaged.
    pub(crate) fn to_moments(self) -> Result<Moments> {
        let Partial { count, mean: [mean, middle, low], m2: [m2, m2_low] } = self;
        Moments::from_parts(MomentsParts {
            counts: &[count],
            means: &[mean],
            means_middle: &[middle],
            means_low: &[low],
            m2s: &[m2],
            m2s_low: &[m2_low],
        })
        .map_err(external)
    }

    /// Returns an error if no rows can have this state, as far as that shows.
    fn check(&self) -> Result<()> {
        let Partial { count, mean, m2 } = *self;
        let follows = |low: f64, high: f64| low.abs() <= high.abs() * f64::EPSILON;
        let finite = [mean[0], m2[0]].map(f64::is_finite);
        if finite == [true; 2]
            && count > 1
            && m2[0] >= 0.0
            && follows(m2[1], m2[0])
            && follows(mean[1], mean[0])
            && follows(mean[2], mean[1])
        {
            return Ok(());
        }
        // NaN, infinities, or words with gaps that cancellation leaves: the crate knows.
        if count == 0 || finite[0] != finite[1] && m2[0] != f64::INFINITY {
            return exec_err!("no rows have a partial state of {count} rows with the mean {mean:?} and the m2 {m2:?}");
        }
        self.to_moments().map(drop)
    }

    /// Returns the sums of deviations from a shift, and of their squares, of as many values that are all at the mean.
    pub(crate) fn sums_about(&self, shift: f64) -> [f64; 2] {
        let distance = (self.mean[0] - shift) + (self.mean[1] + self.mean[2]);
        let sum = distance * self.count as f64;
        [sum, sum * distance]
    }

    /// Returns the state of a single value.
    pub(crate) fn of_value(x: f64) -> Self {
        Partial { count: 1, mean: [x, 0.0, 0.0], m2: [if x.is_finite() { 0.0 } else { f64::NAN }, 0.0] }
    }
}

/// Returns the fields of a partial state of the aggregate of this name. It is a single field, because engines move
/// states row by row, and each column costs them a memory access. A state is 48 bytes: the count, then the words of the
/// mean and of m2, little-endian; `mean_accurate` with GROUP BY has no m2 and leaves 0 in its place. That of a single row is the 8 bytes of its value: where groups are small, engines move
/// rows that were never aggregated. That of no rows has no bytes. (Offsets have 64 bits, because engines ask for the
/// states of all groups at once.)
pub(crate) fn fields(name: &str) -> Vec<FieldRef> {
    vec![Arc::new(Field::new(format_state_name(name, COLUMN), DataType::LargeBinary, true))]
}

/// Writes partial states as a column.
pub(crate) fn write(partials: impl ExactSizeIterator<Item = Partial>) -> Result<Vec<ArrayRef>> {
    let mut ends = Vec::with_capacity(partials.len() + 1);
    let mut bytes: Vec<u8> = Vec::with_capacity(partials.len() * VALUE);
    ends.push(0);
    for Partial { count, mean: [mean, middle, low], m2: [m2, m2_low] } in partials {
        if count == 1 && [middle, low] == [0.0; 2] {
            bytes.extend_from_slice(&mean.to_le_bytes());
        } else if count > 0 {
            let words = [mean, middle, low, m2, m2_low].map(f64::to_le_bytes);
            bytes.extend_from_slice(&count.to_le_bytes());
            bytes.extend_from_slice(words.as_flattened());
        }
        ends.push(bytes.len() as i64);
    }
    Ok(vec![Arc::new(LargeBinaryArray::try_new(OffsetBuffer::new(ends.into()), bytes.into(), None)?)])
}

/// Writes the states of single rows, one for each value. Those of f64 share the memory of the values.
pub(crate) fn write_values<T: Float>(values: &ScalarBuffer<T::Native>) -> Result<Vec<ArrayRef>> {
    let bytes = if cfg!(target_endian = "little") && T::DATA_TYPE == DataType::Float64 {
        values.inner().clone()
    } else {
        Vec::from_iter(values.iter().flat_map(|x| x.to_f64().to_le_bytes())).into()
    };
    let ends = Vec::from_iter((0..=values.len()).map(|row| (row * VALUE) as i64));
    Ok(vec![Arc::new(LargeBinaryArray::try_new(OffsetBuffer::new(ends.into()), bytes, None)?)])
}

/// A column of partial states.
pub(crate) struct States<'a>(&'a LargeBinaryArray);

/// A partial state in such a column.
pub(crate) enum State {
    /// Of no rows, or of several.
    Partial(Partial),
    /// Of a single row.
    Value(f64),
}

/// Reads partial states from a column.
///
/// # Errors
/// If the columns are not those of [`fields`], hold nulls, or states that no rows can have.
pub(crate) fn read(columns: &[ArrayRef]) -> Result<States<'_>> {
    let [column] = columns else { return exec_err!("a partial state has {} columns, not 1", columns.len()) };
    let Some(states) = column.as_binary_opt::<i64>() else {
        return exec_err!("a partial state is {}, not {}", DataType::LargeBinary, column.data_type());
    };
    if states.null_count() > 0 {
        return exec_err!("a column of partial states has {} nulls, not 0", states.null_count());
    }
    let column = States(states);
    for (row, bytes) in states.offsets().lengths().enumerate() {
        if ![0, VALUE, WORDS].contains(&bytes) {
            return exec_err!("a partial state has {bytes} bytes, not 0, {VALUE} or {WORDS}");
        }
        if bytes == WORDS
            && let State::Partial(rows) = column.get(row)
        {
            rows.check()?;
        }
    }
    Ok(column)
}

impl States<'_> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> State {
        match self.0.value(row).as_chunks().0 {
            [] => State::Partial(Partial::EMPTY),
            [value] => State::Value(f64::from_le_bytes(*value)),
            [count, words @ ..] => {
                let word = |at: usize| f64::from_le_bytes(words[at]);
                let count = u64::from_le_bytes(*count);
                State::Partial(Partial { count, mean: [word(0), word(1), word(2)], m2: [word(3), word(4)] })
            }
        }
    }
}
