//! The batches that are hashed: every kind of layout, every kind of column.

use batchnorm::{Element, Layout};

use crate::nasty::{self, KINDS};

/// A layout, its name, and the number of batches in its sections.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) layout: Layout,
    pub(crate) batches: usize,
}

const fn shape(name: &'static str, layout: Layout, batches: usize) -> Shape {
    Shape { name, layout, batches }
}

/// Shapes whose lengths end within lanes, accumulators, rows and chunks. They have few values, because emulators are
/// slow; the three before the last have enough for the parallel path to fork.
pub(crate) const SHAPES: [Shape; 21] = [
    shape("no rows", Layout::nc(0, 3), 1),
    shape("no positions", Layout::nchw(2, 3, 0, 5), 1),
    shape("no features", Layout::nc(5, 0), 1),
    shape("one row", Layout::nc(1, 70), 1),
    shape("two rows", Layout::nc(2, 70), 1),
    shape("exam scores", Layout::nc(6, 5), 9),
    shape("narrow", Layout::nc(777, 5), 9),
    shape("wide", Layout::nc(530, 67), 1),
    shape("one column, two chunks", Layout::nc(33_001, 1), 3),
    shape("channels last", Layout::nhwc(2, 13, 11, 44), 1),
    shape("small planes", Layout::ncl(75, 11, 7), 4),
    shape("small planes, side by side", Layout::ncl(301, 3, 9), 3),
    shape("small planes, many features", Layout::ncl(70, 33, 9), 2),
    shape("planes of 7x7", Layout::nchw(11, 11, 7, 7), 4),
    shape("planes of 7x7, two chunks", Layout::nchw(515, 2, 7, 7), 1),
    shape("planes of 56x56, two chunks", Layout::nchw(11, 2, 56, 56), 4),
    shape("planes that end behind a total of groups", Layout::ncl(9, 2, 4101), 2),
    shape("narrow, several chunks", Layout::nc(30_000, 5), 1),
    shape("wide rows", Layout::nc(140, 1030), 1),
    shape("planes of 100x100", Layout::nchw(3, 5, 100, 100), 1),
    shape("planes longer than a chunk", Layout::ncl(2, 1, 33_001), 2),
];

/// Returns batch `number` of a shape. All kinds take turns as features.
pub(crate) fn batch<T: Element>(shape: &Shape, number: usize) -> Vec<T> {
    let features = shape.layout.features();
    // Each shape starts with another kind, so that shapes with few features do not all have the same kinds.
    let first = shape.name.len() * 5 + number * features;
    nasty::mixed(|feature| KINDS[(first + feature) % KINDS.len()], number as u64, shape.layout)
}
