//! The aggregate functions, as DataFusion sees them.

use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion_common::{Result, exec_err, not_impl_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::AggregateOrderSensitivity;
use datafusion_expr::{Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility};

use crate::column::Float;
use crate::grouped::Groups;
use crate::means::Means;
use crate::partial;
use crate::statistic::Statistic;
use crate::ungrouped::Column;
use crate::variances::Variances;
use crate::window::Window;

/// An aggregate function of one column.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) statistic: Statistic,
    signature: Signature,
}

impl Function {
    pub(crate) fn new(name: &'static str, statistic: Statistic) -> Self {
        Function { name, statistic, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn refuse_distinct(&self, is_distinct: bool) -> Result<()> {
        if !is_distinct {
            return Ok(());
        }
        not_impl_err!(
            "{0}(DISTINCT ..) beside other aggregates, or with FILTER; select the distinct values first: \
             SELECT {0}(x) FROM (SELECT DISTINCT x FROM t)",
            self.name
        )
    }
}

/// Makes the accumulator of a column's type.
macro_rules! of_type {
    ($function:expr, $args:expr, $make:ident) => {{
        $function.refuse_distinct($args.is_distinct)?;
        match $args.expr_fields {
            [field] if *field.data_type() == DataType::Float32 => $make::<Float32Type>($function.statistic),
            [field] if *field.data_type() == DataType::Float64 => $make::<Float64Type>($function.statistic),
            fields => {
                let types: Vec<_> = fields.iter().map(|field| field.data_type().to_string()).collect();
                exec_err!("{} takes one column of Float32 or Float64, not ({})", $function.name, types.join(", "))
            }
        }
    }};
}

impl AggregateUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [given] = arg_types else { return plan_err!("{} takes 1 argument, not {}", self.name, arg_types.len()) };
        let values = if let DataType::Dictionary(_, values) = given { values } else { given };
        match values {
            DataType::Float16 | DataType::Float32 => Ok(vec![DataType::Float32]),
            DataType::Null => Ok(vec![DataType::Float64]),
            values if values.is_numeric() => Ok(vec![DataType::Float64]),
            _ => plan_err!("{} takes numbers, not {given}", self.name),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.statistic.data_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.refuse_distinct(args.is_distinct)?;
        Ok(partial::fields(args.name))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        of_type!(self, args, column)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        of_type!(self, args, window)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        of_type!(self, args, groups)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

fn column<T: Float>(statistic: Statistic) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Column::<T>::new(statistic)?))
}

fn window<T: Float>(statistic: Statistic) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Window::<T>::new(statistic)))
}

fn groups<T: Float>(statistic: Statistic) -> Result<Box<dyn GroupsAccumulator>> {
    Ok(match statistic {
        Statistic::Mean => Box::new(Groups::<T, Means>::new(statistic)),
        _ => Box::new(Groups::<T, Variances>::new(statistic)),
    })
}
