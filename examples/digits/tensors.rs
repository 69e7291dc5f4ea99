//! Tensors of a safetensors file.

use std::error::Error;

use safetensors::{Dtype, SafeTensors};

/// A file, whose tensors are asked for by name and shape.
pub(crate) struct File<'a>(SafeTensors<'a>);

impl<'a> File<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Box<dyn Error>> {
        Ok(File(SafeTensors::deserialize(bytes)?))
    }

    /// Returns the numbers of an f32 tensor.
    pub(crate) fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Box<dyn Error>> {
        let (numbers, rest) = self.data(name, Dtype::F32, shape)?.as_chunks();
        debug_assert!(rest.is_empty(), "the file's sizes are checked");
        Ok(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Returns the numbers of a tensor of bytes.
    pub(crate) fn bytes(&self, name: &str, shape: &[usize]) -> Result<&'a [u8], Box<dyn Error>> {
        self.data(name, Dtype::U8, shape)
    }

    fn data(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8], Box<dyn Error>> {
        let tensor = self.0.tensor(name)?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            let (has, of) = (tensor.dtype(), tensor.shape());
            return Err(format!("{name} must be {dtype:?} of shape {shape:?}, but is {has:?} of shape {of:?}").into());
        }
        Ok(tensor.data())
    }
}
