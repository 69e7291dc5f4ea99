//! A C interface to `batchnorm`, so that peers.py can call it on the arrays that it passes to Python's libraries.
//!
//! The caller must guarantee what the signatures cannot express: every pointer is valid for the length that the shape
//! implies (`outer * features * inner` values, or one per feature), outputs overlap nothing, and a layer is used by one
//! thread at a time. Functions return whether the crate accepted the call.

use std::slice::{from_raw_parts, from_raw_parts_mut};

use batchnorm::{
    Activation, Batch, BatchMut, BatchNorm, Gradients, Inference, Layout, Moments, Path, Result, Workspace,
};

/// A layer, and the memory that its calls reuse.
pub struct Layer {
    norm: BatchNorm,
    inference: Inference,
    /// The same, followed by a ReLU.
    relu: Inference,
    moments: Moments,
    gradients: Gradients,
    workspace: Workspace,
}

impl Layer {
    fn new(weight: &[f32], bias: &[f32], mean: &[f32], variance: &[f32]) -> Result<Self> {
        let mut norm = BatchNorm::new(weight.len());
        norm.set_weight(weight)?;
        norm.set_bias(bias)?;
        norm.set_running_mean(mean)?;
        norm.set_running_var(variance)?;
        Ok(Layer {
            inference: norm.to_inference(),
            relu: norm.to_inference().with_activation(Activation::Relu),
            norm,
            moments: Moments::default(),
            gradients: Gradients::default(),
            workspace: Workspace::default(),
        })
    }

    fn layout(&self, outer: usize, inner: usize) -> Layout {
        Layout::new(outer, self.norm.num_features(), inner)
    }

    fn measure(&mut self, x: &[f32], layout: Layout, mean: &mut [f32], variance: &mut [f32]) -> Result<()> {
        Path::Auto.moments_into(Batch::new(x, layout)?, &mut self.moments, &mut self.workspace);
        self.moments.means_into(mean)?;
        self.moments.variances_into(0.0, variance)
    }
}

/// Creates a layer of `features` features. Returns null if a parameter is rejected.
///
/// # Safety
/// As described in the crate's documentation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn layer_new(
    features: usize,
    weight: *const f32,
    bias: *const f32,
    mean: *const f32,
    variance: *const f32,
) -> *mut Layer {
    // SAFETY: the caller promises `features` values behind each pointer.
    let [weight, bias, mean, variance] =
        [weight, bias, mean, variance].map(|values| unsafe { from_raw_parts(values, features) });
    Layer::new(weight, bias, mean, variance).map_or(std::ptr::null_mut(), |layer| Box::into_raw(Box::new(layer)))
}

/// Frees a layer.
///
/// # Safety
/// `layer` came from [`layer_new`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn layer_free(layer: *mut Layer) {
    // SAFETY: the caller promises that `layer_new` made it by `Box::into_raw`, and that this is its last use.
    drop(unsafe { Box::from_raw(layer) });
}

/// Computes the mean and the population variance of each feature.
///
/// # Safety
/// As described in the crate's documentation; `layer` came from [`layer_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn layer_moments(
    layer: *mut Layer,
    x: *const f32,
    outer: usize,
    inner: usize,
    mean: *mut f32,
    variance: *mut f32,
) -> bool {
    // SAFETY: the caller promises a live layer that nothing else uses at the same time.
    let layer = unsafe { &mut *layer };
    let layout = layer.layout(outer, inner);
    let Some(len) = layout.checked_len() else { return false };
    // SAFETY: the caller promises a batch of this shape and one value per feature behind each output, none overlapping.
    let (x, mean, variance) = unsafe {
        let features = layout.features();
        (from_raw_parts(x, len), from_raw_parts_mut(mean, features), from_raw_parts_mut(variance, features))
    };
    layer.measure(x, layout, mean, variance).is_ok()
}

/// Normalises by the running statistics.
///
/// # Safety
/// As described in the crate's documentation; `layer` came from [`layer_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn layer_eval(
    layer: *const Layer,
    x: *const f32,
    outer: usize,
    inner: usize,
    y: *mut f32,
) -> bool {
    // SAFETY: the caller promises a live layer that nothing changes at the same time.
    let layer = unsafe { &*layer };
    let layout = layer.layout(outer, inner);
    // SAFETY: the caller promises batches of this shape that do not overlap.
    match unsafe { batches(layout, x, y) } {
        Ok((x, y)) => layer.inference.forward(x, y).is_ok(),
        Err(_) => false,
    }
}

/// Normalises by the batch's own statistics and updates the running ones.
///
/// # Safety
/// As described in the crate's documentation; `layer` came from [`layer_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn layer_train(
    layer: *mut Layer,
    x: *const f32,
    outer: usize,
    inner: usize,
    y: *mut f32,
) -> bool {
    // SAFETY: the caller promises a live layer that nothing else uses at the same time.
    let layer = unsafe { &mut *layer };
    let layout = layer.layout(outer, inner);
    // SAFETY: the caller promises batches of this shape that do not overlap.
    match unsafe { batches(layout, x, y) } {
        Ok((x, y)) => layer.norm.forward_train(x, y).is_ok(),
        Err(_) => false,
    }
}

/// Normalises by the running statistics, adds a residual and applies a ReLU.
///
/// # Safety
/// As described in the crate's documentation; `layer` came from [`layer_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn layer_fused(
    layer: *const Layer,
    x: *const f32,
    outer: usize,
    inner: usize,
    residual: *const f32,
    y: *mut f32,
) -> bool {
    // SAFETY: the caller promises a live layer that nothing changes at the same time.
    let layer = unsafe { &*layer };
    let layout = layer.layout(outer, inner);
    // SAFETY: the caller promises batches of this shape, of which `y` overlaps none.
    match unsafe { (batches(layout, x, y), batch(layout, residual)) } {
        (Ok((x, y)), Ok(residual)) => layer.relu.forward_add(x, residual, y).is_ok(),
        _ => false,
    }
}

/// Computes the gradients of training with respect to inputs, weight and bias, given those with respect to outputs.
/// [`layer_moments`] must have been called with the same batch.
///
/// # Safety
/// As described in the crate's documentation; `layer` came from [`layer_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn layer_backward(
    layer: *mut Layer,
    x: *const f32,
    outer: usize,
    inner: usize,
    dy: *const f32,
    dx: *mut f32,
) -> bool {
    // SAFETY: the caller promises a live layer that nothing else uses at the same time.
    let Layer { norm, moments, gradients, .. } = unsafe { &mut *layer };
    let layout = Layout::new(outer, norm.num_features(), inner);
    // SAFETY: the caller promises batches of this shape, of which `dx` overlaps none.
    match unsafe { (batches(layout, x, dx), batch(layout, dy)) } {
        (Ok((x, dx)), Ok(dy)) => norm.backward_train_into(moments, x, dy, dx, gradients).is_ok(),
        _ => false,
    }
}

/// # Safety
/// The pointer is valid for the layout for as long as the view is used.
unsafe fn batch<'a>(layout: Layout, x: *const f32) -> Result<Batch<'a, f32>> {
    // SAFETY: this function's caller guarantees it.
    Batch::new(unsafe { from_raw_parts(x, layout.checked_len().unwrap_or(0)) }, layout)
}

/// # Safety
/// Both pointers are valid for the layout, and `y` overlaps nothing, for as long as the views are used.
unsafe fn batches<'a>(layout: Layout, x: *const f32, y: *mut f32) -> Result<(Batch<'a, f32>, BatchMut<'a, f32>)> {
    let len = layout.checked_len().unwrap_or(0);
    // SAFETY: this function's caller guarantees it.
    let (x, y) = unsafe { (from_raw_parts(x, len), from_raw_parts_mut(y, len)) };
    Ok((Batch::new(x, layout)?, BatchMut::new(y, layout)?))
}
