//! What is left of the rows that one accumulator has read: a partial state, as it travels between partitions, processes
//! and machines, and the statistics that are read off it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use batchnorm::{Moments, MomentsParts};
use datafusion_common::{Result, exec_err};
use datafusion_expr::utils::format_state_name;

use crate::external;

/// Count, mean and sum of squared deviations from the mean (m2) of some rows. The words of the mean and of m2 are those
/// of [`MomentsParts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Partial {
    pub(crate) count: u64,
    pub(crate) mean: [f64; 3],
    pub(crate) m2: [f64; 2],
}

/// The columns of a partial state. The words of mean and m2 are one column, because engines move states row by row: each
/// column costs them a memory access.
const COLUMNS: [&str; 2] = ["count", "words"];

/// Bytes of five words, the lowest byte of each first.
const WORDS: usize = 5 * size_of::<f64>();

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

    /// Returns the state of a single value.
    pub(crate) fn of_value(x: f64) -> Self {
        Partial { count: 1, mean: [x, 0.0, 0.0], m2: [if x.is_finite() { 0.0 } else { f64::NAN }, 0.0] }
    }
}

/// Returns the fields of a partial state of the aggregate of this name.
pub(crate) fn fields(name: &str) -> Vec<FieldRef> {
    let types = [DataType::UInt64, DataType::FixedSizeBinary(WORDS as i32)];
    let fields = COLUMNS.iter().zip(types);
    fields.map(|(column, of)| Arc::new(Field::new(format_state_name(name, column), of, true))).collect()
}

/// Writes partial states as columns.
pub(crate) fn write(partials: impl ExactSizeIterator<Item = Partial>) -> Result<Vec<ArrayRef>> {
    let mut counts = Vec::with_capacity(partials.len());
    let mut words: Vec<u8> = Vec::with_capacity(partials.len() * WORDS);
    for Partial { count, mean: [mean, middle, low], m2: [m2, m2_low] } in partials {
        counts.push(count);
        for word in [mean, middle, low, m2, m2_low] {
            words.extend_from_slice(&word.to_le_bytes());
        }
    }
    let words = FixedSizeBinaryArray::try_new(WORDS as i32, words.into(), None)?;
    Ok(vec![Arc::new(UInt64Array::from(counts)), Arc::new(words)])
}

/// Reads partial states from columns.
///
/// # Errors
/// If the columns are not those of [`fields`], or hold nulls.
pub(crate) fn read(columns: &[ArrayRef]) -> Result<impl ExactSizeIterator<Item = Partial>> {
    let types = || columns.iter().map(|column| column.data_type().to_string()).collect::<Vec<_>>().join(", ");
    let [counts, words] = columns else {
        return exec_err!("a partial state has {} columns, not {}", COLUMNS.len(), columns.len());
    };
    let words_of = words.as_fixed_size_binary_opt().filter(|words| words.value_size() == WORDS);
    let (Some(counts_of), Some(words_of)) = (counts.as_primitive_opt::<UInt64Type>(), words_of) else {
        return exec_err!("a partial state is UInt64, FixedSizeBinary({WORDS}), not {}", types());
    };
    for (column, name) in columns.iter().zip(COLUMNS) {
        if column.null_count() > 0 {
            return exec_err!("column {name} of a partial state has {} nulls, not 0", column.null_count());
        }
    }
    let words = words_of.value_data().as_chunks::<WORDS>().0;
    Ok(counts_of.values().iter().zip(words).map(|(&count, bytes)| {
        let word = |at: usize| f64::from_le_bytes(bytes.as_chunks().0[at]);
        Partial { count, mean: [word(0), word(1), word(2)], m2: [word(3), word(4)] }
    }))
}
