//! What is left of the rows that one accumulator has read: a partial state, as it travels between partitions, processes
//! and machines, and the statistics that are read off it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use batchnorm::{Moments, MomentsParts};
use datafusion_common::{Result, exec_err};
use datafusion_expr::utils::format_state_name;

use crate::external;
use crate::pair::two_sum;

/// Count, mean and sum of squared deviations from the mean (m2) of some rows. The words of the mean and of m2 are those
/// of [`MomentsParts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Partial {
    pub(crate) count: u64,
    pub(crate) mean: [f64; 3],
    pub(crate) m2: [f64; 2],
}

/// The columns of a partial state.
pub(crate) const COLUMNS: [&str; 6] = ["count", "mean", "mean_middle", "mean_low", "m2", "m2_low"];

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
        self.checked().or_else(|error| self.in_normal_form().checked().map_err(|_| error)).map_err(external)
    }

    fn checked(self) -> batchnorm::Result<Moments> {
        let Partial { count, mean: [mean, middle, low], m2: [m2, m2_low] } = self;
        Moments::from_parts(MomentsParts {
            counts: &[count],
            means: &[mean],
            means_middle: &[middle],
            means_low: &[low],
            m2s: &[m2],
            m2s_low: &[m2_low],
        })
    }

    /// Returns the same mean in words that ties cannot upset: a middle word of exactly half a unit in the last place
    /// belongs to an even high word. (Merges leave others, too, and the check above refuses them.)
    fn in_normal_form(self) -> Self {
        let high = two_sum(self.mean[0], self.mean[1]);
        let middle = two_sum(high.low, self.mean[2]);
        Partial { mean: [high.high, middle.high, middle.low], ..self }
    }

    /// Returns the state of a single value.
    pub(crate) fn of_value(x: f64) -> Self {
        Partial { count: 1, mean: [x, 0.0, 0.0], m2: [if x.is_finite() { 0.0 } else { f64::NAN }, 0.0] }
    }
}

/// Returns the fields of a partial state of the aggregate of this name.
pub(crate) fn fields(name: &str) -> Vec<FieldRef> {
    let data_type = |column: &str| if column == "count" { DataType::UInt64 } else { DataType::Float64 };
    COLUMNS.map(|column| Arc::new(Field::new(format_state_name(name, column), data_type(column), true))).to_vec()
}

/// Writes partial states as columns.
pub(crate) fn write(partials: impl ExactSizeIterator<Item = Partial>) -> Vec<ArrayRef> {
    let mut counts = Vec::with_capacity(partials.len());
    let mut words: [Vec<f64>; 5] = std::array::from_fn(|_| Vec::with_capacity(partials.len()));
    for Partial { count, mean: [mean, middle, low], m2: [m2, m2_low] } in partials {
        counts.push(count);
        for (column, word) in words.iter_mut().zip([mean, middle, low, m2, m2_low]) {
            column.push(word);
        }
    }
    let words = words.map(|column| Arc::new(Float64Array::from(column)) as ArrayRef);
    std::iter::once(Arc::new(UInt64Array::from(counts)) as ArrayRef).chain(words).collect()
}

/// Reads partial states from columns.
///
/// # Errors
/// If the columns are not those of [`fields`], or hold nulls.
pub(crate) fn read(columns: &[ArrayRef]) -> Result<impl ExactSizeIterator<Item = Partial>> {
    let [counts, words @ ..] = columns else {
        return exec_err!("a partial state has {} columns, not 0", COLUMNS.len());
    };
    let (Some(counts), Ok(words)) = (counts.as_primitive_opt::<UInt64Type>(), <&[ArrayRef; 5]>::try_from(words)) else {
        let types: Vec<_> = columns.iter().map(|column| column.data_type().to_string()).collect();
        return exec_err!("a partial state is a column of UInt64 and five of Float64, not {}", types.join(", "));
    };
    let mut values: [&[f64]; 5] = [&[]; 5];
    for ((values, column), name) in values.iter_mut().zip(words).zip(&COLUMNS[1..]) {
        let Some(column) = column.as_primitive_opt::<Float64Type>() else {
            return exec_err!("column {name} of a partial state is Float64, not {}", column.data_type());
        };
        *values = column.values();
    }
    for (column, name) in columns.iter().zip(COLUMNS) {
        if column.null_count() > 0 {
            return exec_err!("column {name} of a partial state has {} nulls, not 0", column.null_count());
        }
    }
    Ok(counts.values().iter().enumerate().map(move |(row, &count)| {
        let [mean, middle, low, m2, m2_low] = values.map(|column| column[row]);
        Partial { count, mean: [mean, middle, low], m2: [m2, m2_low] }
    }))
}
