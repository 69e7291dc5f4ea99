//! What an aggregate function returns, read off the state of its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StructArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion_common::{Result, ScalarValue};

use crate::pair::Pair;
use crate::partial::Partial;

/// What an aggregate function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Statistic {
    Mean,
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    Moments,
}

/// Reads a number off a state; nothing where SQL has NULL.
type Number = fn(&Partial) -> Option<f64>;

/// The numbers of the struct that `moments` returns, after its count.
const NUMBERS: [(&str, Number); 6] = [
    ("mean", |rows| Statistic::Mean.number(rows)),
    ("m2", |rows| (rows.count > 0).then_some(rows.m2[0])),
    ("var_pop", |rows| Statistic::VarPop.number(rows)),
    ("var_samp", |rows| Statistic::VarSamp.number(rows)),
    ("stddev_pop", |rows| Statistic::StddevPop.number(rows)),
    ("stddev_samp", |rows| Statistic::StddevSamp.number(rows)),
];

impl Statistic {
    pub(crate) fn data_type(self) -> DataType {
        if self == Statistic::Moments { DataType::Struct(moments_fields()) } else { DataType::Float64 }
    }

    /// Returns one result for each state.
    pub(crate) fn array(self, rows: impl Iterator<Item = Partial>) -> ArrayRef {
        if self != Statistic::Moments {
            return Arc::new(Float64Array::from_iter(rows.map(|rows| self.number(&rows))));
        }
        let rows: Vec<Partial> = rows.collect();
        let counts = Arc::new(UInt64Array::from_iter_values(rows.iter().map(|rows| rows.count))) as ArrayRef;
        let numbers = NUMBERS.map(|(_, of)| Arc::new(Float64Array::from_iter(rows.iter().map(of))) as ArrayRef);
        Arc::new(StructArray::new(moments_fields(), std::iter::once(counts).chain(numbers).collect(), None))
    }

    /// Returns the result for a single state.
    pub(crate) fn scalar(self, rows: &Partial) -> Result<ScalarValue> {
        if self == Statistic::Moments {
            return ScalarValue::try_from_array(&self.array(std::iter::once(*rows)), 0);
        }
        Ok(ScalarValue::Float64(self.number(rows)))
    }

    /// Returns the number, or nothing where SQL has NULL: too few rows. (Not for [`Statistic::Moments`].)
    fn number(self, rows: &Partial) -> Option<f64> {
        let ddof = match self {
            Statistic::VarSamp | Statistic::StddevSamp => 1,
            _ => 0,
        };
        let degrees = rows.count.checked_sub(ddof).filter(|degrees| *degrees > 0)? as f64;
        Some(match self {
            Statistic::Mean => rows.mean[0],
            Statistic::VarPop | Statistic::VarSamp => variance(rows.m2, degrees),
            Statistic::StddevPop | Statistic::StddevSamp => variance(rows.m2, degrees).sqrt(),
            Statistic::Moments => return None,
        })
    }
}

/// Returns `m2 / degrees`, rounded once: the low word of m2 and the remainder of the quotient are included.
fn variance(m2: [f64; 2], degrees: f64) -> f64 {
    if m2[1] == 0.0 {
        // As in most small groups: this rounds once, too.
        return m2[0] / degrees;
    }
    // Beyond this, the halves of numbers might overflow. A power of two changes no digit.
    let scale = if m2[0] > 1e270 { 2f64.powi(-128) } else { 1.0 };
    let quotient = Pair { high: m2[0] * scale, low: m2[1] * scale }.divided_by(degrees);
    let rounded = quotient.high + quotient.low;
    // Infinities and NaN leave the high word alone.
    (if rounded.is_finite() { rounded } else { m2[0] * scale / degrees }) / scale
}

fn moments_fields() -> Fields {
    let count = Field::new("count", DataType::UInt64, false);
    let numbers = NUMBERS.map(|(name, _)| Field::new(name, DataType::Float64, true));
    std::iter::once(count).chain(numbers).collect()
}
