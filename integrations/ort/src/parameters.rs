//! The inputs besides X: scale, B, input_mean and input_var, kept from call to call.

use batchnorm::Element;
use half::{bf16, f16};
use ort::operator::ComputeContext;
use ort::value::{PrimitiveTensorElementType, TensorElementType, ValueRef};

/// ONNX's names of the inputs 1 to 4.
const NAMES: [&str; 4] = ["scale", "B", "input_mean", "input_var"];

/// The values of these inputs in the last call.
#[derive(Default)]
pub(crate) struct Parameters {
    values: [Vec<f64>; 4],
}

/// Which of them differ from the call before.
pub(crate) type Changed = [bool; 4];

impl Parameters {
    /// Takes over the inputs, and returns which have changed: bit for bit, because NaN differs from itself and 0 equals -0.
    pub(crate) fn update(
        &mut self,
        ctx: &ComputeContext,
        types: [TensorElementType; 4],
        features: usize,
    ) -> ort::Result<Changed> {
        let mut changed = [false; 4];
        for (at, values) in self.values.iter_mut().enumerate() {
            let input = ctx.input(at + 1)?.ok_or_else(|| ort::Error::new(format!("{} is missing", NAMES[at])))?;
            changed[at] = match types[at] {
                TensorElementType::Float16 => take::<f16>(NAMES[at], &input, features, values)?,
                TensorElementType::Bfloat16 => take::<bf16>(NAMES[at], &input, features, values)?,
                TensorElementType::Float32 => take::<f32>(NAMES[at], &input, features, values)?,
                _ => take::<f64>(NAMES[at], &input, features, values)?,
            };
        }
        Ok(changed)
    }

    pub(crate) fn scale(&self) -> &[f64] {
        &self.values[0]
    }

    pub(crate) fn bias(&self) -> &[f64] {
        &self.values[1]
    }

    pub(crate) fn mean(&self) -> &[f64] {
        &self.values[2]
    }

    pub(crate) fn variance(&self) -> &[f64] {
        &self.values[3]
    }
}

/// Takes over one input, and returns whether it has changed.
fn take<T: Element + PrimitiveTensorElementType>(
    name: &str,
    input: &ValueRef<'_>,
    features: usize,
    to: &mut Vec<f64>,
) -> ort::Result<bool> {
    let (shape, values) = input.try_extract_tensor::<T>()?;
    if shape.len() != 1 || values.len() != features {
        let message = format!("{name} must be [{features}], one value per channel of X, but its shape is {shape}");
        return Err(ort::Error::new(message));
    }
    Ok(replace(to, values))
}

fn replace<T: Element>(to: &mut Vec<f64>, values: &[T]) -> bool {
    let pairs = to.iter().zip(values);
    let differing_bits = pairs.fold(0, |bits, (old, new)| bits | (old.to_bits() ^ new.to_f64().to_bits()));
    let changed = to.len() != values.len() || differing_bits != 0;
    if changed {
        to.clear();
        to.extend(values.iter().map(|value| value.to_f64()));
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_of_bits() {
        let mut values = Vec::new();
        assert!(replace(&mut values, &[1.0f32, f32::NAN, 0.0]));
        assert!(!replace(&mut values, &[1.0f32, f32::NAN, 0.0]));
        assert!(replace(&mut values, &[1.0f32, f32::NAN, -0.0]));
        assert!(!replace(&mut values, &[1.0f64, f64::from(f32::NAN), -0.0]));
        assert!(replace(&mut values, &[1.0f64]));
        assert_eq!(values, [1.0]);
        assert!(replace::<f32>(&mut values, &[]) && !replace::<f32>(&mut values, &[]));
    }
}
