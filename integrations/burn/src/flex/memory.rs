//! In which order a tensor lies in memory, and as what type it is read.

use burn::backend::flex::FlexTensor;

/// What batches, parameters and statistics can be of.
pub(super) trait Float: batchnorm::Element + burn::tensor::Element + bytemuck::Pod {}

impl<T: batchnorm::Element + burn::tensor::Element + bytemuck::Pod> Float for T {}

/// Names the type of a tensor's values in an expression.
macro_rules! with_float {
    ($dtype:expr, $float:ident => $body:expr) => {
        match $dtype {
            burn::tensor::DType::F32 => {
                type $float = f32;
                $body
            }
            burn::tensor::DType::F64 => {
                type $float = f64;
                $body
            }
            burn::tensor::DType::F16 => {
                type $float = burn::tensor::f16;
                $body
            }
            burn::tensor::DType::BF16 => {
                type $float = burn::tensor::bf16;
                $body
            }
            other => panic!("batch norm needs f16, bf16, f32 or f64, but has {other:?}"),
        }
    };
}
pub(super) use with_float;

/// The order in which the dimensions of a batch `[N, C, ...]` lie in memory. All but the channels are alike to batch
/// normalisation, so a permuted tensor is `[outer, channels, inner]`, too: only the order of its sums is another.
pub(super) struct MemoryOrder {
    /// The dimension that lies at each place, from the outermost; `None` if they lie as they are numbered.
    dims: Option<Vec<usize>>,
    layout: batchnorm::Layout,
}

impl MemoryOrder {
    pub(super) fn of(x: &FlexTensor) -> Self {
        let shape: &[usize] = x.layout().shape();
        let split = |sizes: &[usize], channel: usize| {
            let (outer, inner) = (sizes[..channel].iter().product(), sizes[channel + 1..].iter().product());
            batchnorm::Layout::new(outer, sizes[channel], inner)
        };
        if x.is_contiguous() {
            return MemoryOrder { dims: None, layout: split(shape, 1) };
        }
        let strides = x.layout().strides();
        let mut dims: Vec<usize> = (0..shape.len()).collect();
        dims.sort_by_key(|&dim| std::cmp::Reverse(strides[dim].unsigned_abs()));
        let sizes: Vec<usize> = dims.iter().map(|&dim| shape[dim]).collect();
        let channel = dims.iter().position(|&dim| dim == 1).expect("a batch of two dimensions or more");
        MemoryOrder { layout: split(&sizes, channel), dims: Some(dims) }
    }

    /// Returns how the ordered tensor is split at its channels.
    pub(super) fn layout(&self) -> batchnorm::Layout {
        self.layout
    }

    /// Returns a tensor of the same shape in this order, contiguous: copied only if its memory has another order, or gaps.
    pub(super) fn apply(&self, tensor: FlexTensor) -> FlexTensor {
        let tensor = match &self.dims {
            None => tensor,
            Some(dims) => permuted(tensor, dims),
        };
        // (What is contiguous must not be cloned: it would count as shared.)
        if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
    }

    /// Returns a tensor in this order as one of the original shape, without a copy.
    pub(super) fn undo(&self, ordered: FlexTensor) -> FlexTensor {
        let Some(dims) = &self.dims else { return ordered };
        let mut places = vec![0; dims.len()];
        for (place, dim) in dims.iter().enumerate() {
            places[*dim] = place;
        }
        permuted(ordered, &places)
    }
}

fn permuted(tensor: FlexTensor, dims: &[usize]) -> FlexTensor {
    let layout = tensor.layout().permute(dims);
    tensor.with_layout(layout)
}
