//! Numbers for the element types, so that ranks can compare theirs.

use std::any::TypeId;

use batchnorm::Element;

/// Returns the number of an element type.
pub(crate) fn code<T: Element>() -> u64 {
    let types = [
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
        #[cfg(feature = "half")]
        TypeId::of::<half::f16>(),
        #[cfg(feature = "half")]
        TypeId::of::<half::bf16>(),
    ];
    types.iter().position(|of| *of == TypeId::of::<T>()).map_or(0, |at| at as u64 + 1)
}

/// Returns the name of an element type.
pub(crate) fn name(code: u64) -> String {
    ["none", "f32", "f64", "f16", "bf16"].get(code as usize).unwrap_or(&"an unknown one").to_string()
}

#[cfg(test)]
mod tests {
    use super::{code, name};

    #[test]
    fn codes_have_the_names_of_their_types() {
        assert_eq!([name(code::<f32>()), name(code::<f64>())], ["f32", "f64"]);
        #[cfg(feature = "half")]
        assert_eq!([name(code::<half::f16>()), name(code::<half::bf16>())], ["f16", "bf16"]);
        assert_eq!(name(99), "an unknown one");
    }
}
