//! Tests one map for every formula, element type and type of computation, against plain loops: on every instruction
//! set, with either store policy, from several places of a batch.

use super::{Activated, Formula, Map, Normalize, NormalizeSingle, Parameters, Residual, StorePolicy};
use crate::Element;
use crate::kernels::KernelElement;
use crate::lanes::{Isa, Job};
use crate::layout::Layout;

/// Returns layouts for every walk: planes, tiles, rows, and rows with expanded parameters: side by side, in one tile or
/// several, and in the order of memory.
fn layouts() -> impl Iterator<Item = Layout> {
    let narrow = (1..40).map(|features| Layout::nc(300 / features + 2, features));
    let planes = (2..40).map(|inner| Layout::ncl(5, 3, inner));
    let wide = [Layout::nc(3, 1500), Layout::nc(2, 4099), Layout::ncl(4, 150, 3), Layout::ncl(3, 90, 15)];
    let large = [Layout::nc(9, 200), Layout::nchw(2, 3, 14, 14), Layout::ncl(2, 2, 1001)];
    let small = (2..33).flat_map(|inner| {
        let [one_tile, tiles] = [300, 2300].map(|width| width / inner);
        [(1, one_tile), (3, one_tile), (1, tiles), (3, tiles)].map(|(outer, c)| Layout::ncl(outer, c, inner))
    });
    narrow.chain(planes).chain(wide).chain(large).chain(small)
}

fn values<C: Copy>(len: usize, seed: usize, of: impl Fn(f64) -> C) -> Vec<C> {
    (0..len).map(|i| of((((i + seed) * 7919) % 1009) as f64 * 0.37 - 150.0)).collect()
}

fn parameters<C: Copy + Default, const P: usize>(features: usize, of: impl Fn(f64) -> C + Copy) -> Parameters<C, P> {
    let mut parameters = Parameters::default();
    parameters.set(features, |arrays| {
        for (seed, array) in arrays.into_iter().enumerate() {
            array.copy_from_slice(&values(features, 31 * seed, of));
        }
    });
    parameters
}

/// Runs a formula, with and without a residual and ReLU, in place and out of place, from several starts, and compares
/// with `expected(parameters, x)`.
fn check<F, C, T, const P: usize>(
    layout: Layout,
    formula: F,
    of: impl Fn(f64) -> C + Copy,
    expected: impl Fn([C; P], T) -> C,
    narrow: impl Fn(C) -> T,
) where
    F: Formula<P, 1>,
    C: Copy + Default + std::ops::Add<Output = C> + 'static,
    T: KernelElement,
    for<'a> Map<'a, Activated<F>, C, T, P, 1>: Job<Output = ()>,
    for<'a> Map<'a, Activated<Residual<F, false>>, C, T, P, 2>: Job<Output = ()>,
{
    let len = layout.checked_len().expect("small");
    let (x, parameters) = (values(len, 3, T::from_f64), parameters(layout.features(), of));
    let half = of(0.5);
    let one = |at: usize| expected(parameters.feature(at / layout.inner() % layout.features()), x[at]);
    let relu = |relu: bool, y: Vec<T>| -> Vec<T> {
        y.into_iter().map(|y| if relu && y.to_f64() <= 0.0 { T::from_f64(0.0) } else { y }).collect()
    };
    let plain = [false, true].map(|on| relu(on, (0..len).map(|at| narrow(one(at))).collect()));
    let added = [false, true].map(|on| relu(on, (0..len).map(|at| narrow(one(at) + half)).collect()));
    let second = vec![T::from_f64(0.5); len];
    let parameters = &parameters;
    for isa in Isa::available() {
        // Some of them in another row.
        let width = layout.features() * layout.inner();
        for (start, store) in [0, 1, 5, 16, 37, width + 16, 2 * width - 1]
            .into_iter()
            .flat_map(|start| [StorePolicy::Cached, StorePolicy::NonTemporal].map(|store| (start.min(len), store)))
        {
            let (x, second) = (&x[start..], &second[start..]);
            for relu in [false, true] {
                let (plain, added) = (&plain[usize::from(relu)][start..], &added[usize::from(relu)][start..]);
                let mut y = vec![T::from_f64(0.0); len - start];
                let one = Activated { formula, relu };
                isa.run(Map { formula: one, parameters, layout, start, inputs: [Some(x)], y: &mut y, store });
                assert_eq!(y, plain, "{layout} from {start}, {isa}, {store:?}, relu {relu}");

                let (two, inputs) = (Activated { formula: Residual(formula), relu }, [Some(x), Some(second)]);
                isa.run(Map { formula: two, parameters, layout, start, inputs, y: &mut y, store });
                assert_eq!(y, added, "residual, {layout} from {start}, {isa}, {store:?}, relu {relu}");

                y.copy_from_slice(x);
                isa.run(Map { formula: one, parameters, layout, start, inputs: [None], y: &mut y, store });
                assert_eq!(y, plain, "in place, {layout} from {start}, {isa}, relu {relu}");

                y.copy_from_slice(x);
                let inputs = [None, Some(second)];
                isa.run(Map { formula: two, parameters, layout, start, inputs, y: &mut y, store });
                assert_eq!(y, added, "residual in place, {layout} from {start}, {isa}, relu {relu}");
            }
        }
    }
}

#[test]
fn maps_agree_with_plain_loops() {
    for layout in layouts() {
        let of_f64 = |[mean, scale, bias]: [f64; 3], x: f64| (x - mean) * scale + bias;
        check(layout, Normalize, |x| x, of_f64, |y: f64| y);
        check(layout, Normalize, |x| x, |parameters, x: f32| of_f64(parameters, x.into()), f32::from_f64);
        let of_f32 = |[high, low, scale, bias]: [f32; 4], x: f32| ((x - high) - low) * scale + bias;
        check(layout, NormalizeSingle, f32::from_f64, of_f32, |y: f32| y);
    }
}

/// Large outputs are written with non-temporal stores, but not in place.
#[test]
fn only_large_outputs_bypass_the_caches() {
    let y = vec![0f32; 4 << 20];
    let choose = StorePolicy::choose::<f32>;
    assert_eq!(choose(false, &y), StorePolicy::NonTemporal);
    assert_eq!(choose(true, &y), StorePolicy::Cached);
    assert_eq!(choose(false, &y[..1 << 17]), StorePolicy::Cached);
}
