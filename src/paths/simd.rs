//! Lanes on one thread; and the moments of the parallel path, which are the same tree with forks.

use crate::kernels::{Affine, Normalize, Tree};
use crate::lanes::Isa;
use crate::layout::Layout;
use crate::order::Order;
use crate::{Element, Moments};

pub(super) fn moments<T: Element>(isa: Isa, forks: bool, order: &Order, x: &[T], moments: &mut Moments) {
    let layout = order.layout;
    if x.is_empty() {
        // The sides of an empty batch may be anything; no tree could be laid over them.
        return moments.fill(layout.features(), 0, 0, |_, _| ());
    }
    let tree = Tree::new(isa, forks, order, x);
    moments.fill(layout.features(), layout.count(), tree.scratch_len(), |out, scratch| tree.run(out, scratch));
}

pub(super) fn normalize<T: Element>(isa: Isa, affine: &Affine, layout: Layout, x: Option<&[T]>, y: &mut [T]) {
    if !y.is_empty() {
        let streams = super::streams(x, y);
        isa.run(Normalize { affine, layout, start: 0, x, y, streams });
    }
}
