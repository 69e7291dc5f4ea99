//! Calls of a layer that succeed, and what a caller can see of it.

use batchnorm::{Batch, BatchMut, BatchNorm, Element, Layout, Moments};

use super::bits;

pub fn view<T>(data: &[T], layout: Layout) -> Batch<'_, T> {
    Batch::new(data, layout).expect("fits")
}

pub fn view_mut<T>(data: &mut [T], layout: Layout) -> BatchMut<'_, T> {
    BatchMut::new(data, layout).expect("fits")
}

pub fn train<T: Element>(bn: &mut BatchNorm, data: &[T], layout: Layout) -> Vec<T> {
    let mut y = data.to_vec();
    bn.forward_train(view(data, layout), view_mut(&mut y, layout)).expect("trains");
    y
}

pub fn eval<T: Element>(bn: &BatchNorm, data: &[T], layout: Layout) -> Vec<T> {
    let mut y = data.to_vec();
    bn.forward_eval(view(data, layout), view_mut(&mut y, layout)).expect("runs");
    y
}

/// Everything that a caller can see of a layer's state.
pub fn state(bn: &BatchNorm) -> (Vec<Vec<u64>>, [u64; 2], Moments) {
    let arrays = [bn.weight().unwrap_or(&[]), bn.bias().unwrap_or(&[]), bn.running_mean(), bn.running_var()];
    let counts = [bn.num_batches_tracked(), bn.num_values_tracked()];
    (arrays.map(bits).to_vec(), counts, bn.batch_moments().clone())
}
