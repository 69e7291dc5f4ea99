//! What connects the crate with others, one file each, behind features of the same names.

#[cfg(feature = "safetensors")]
pub mod safetensors;
#[cfg(feature = "serde")]
mod serde;
