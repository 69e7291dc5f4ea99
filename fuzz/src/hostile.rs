//! Hostile sizes: layouts near overflow, lengths that do not fit, and batches of them.

use arbitrary::{Arbitrary, Unstructured};
use batchnorm::{Batch, BatchMut, Error, Layout};

/// Most features of a layer, and of an empty batch for which results are computed. The crate allows 2^24, but their
/// results take half a gigabyte.
pub const MOST_FEATURES: usize = 40;

/// A dimension of a layout: small, or near overflow.
#[derive(Clone, Copy, Debug)]
pub struct Side(pub usize);

impl<'a> Arbitrary<'a> for Side {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (kind, small) = (u8::arbitrary(u)?, usize::from(u8::arbitrary(u)?));
        Ok(Side(match kind % 8 {
            0..4 => small % 8,
            4 => small,
            5 => usize::MAX - small,
            6 => (1usize << (small % 64)).wrapping_add(usize::from(kind >> 3)).wrapping_sub(16),
            _ => usize::arbitrary(u)?,
        }))
    }
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Shape {
    New(Side, Side, Side),
    Nc(Side, Side),
    Ncl(Side, Side, Side),
    Nchw(Side, Side, Side, Side),
    Ncdhw(Side, Side, Side, Side, Side),
    Nhwc(Side, Side, Side, Side),
    Strided(Side, Side, Side, Side),
}

impl Shape {
    pub fn layout(self) -> Layout {
        match self {
            Shape::New(Side(o), Side(f), Side(i)) => Layout::new(o, f, i),
            Shape::Nc(Side(n), Side(c)) => Layout::nc(n, c),
            Shape::Ncl(Side(n), Side(c), Side(l)) => Layout::ncl(n, c, l),
            Shape::Nchw(Side(n), Side(c), Side(h), Side(w)) => Layout::nchw(n, c, h, w),
            Shape::Ncdhw(Side(n), Side(c), Side(d), Side(h), Side(w)) => Layout::ncdhw(n, c, d, h, w),
            Shape::Nhwc(Side(n), Side(h), Side(w), Side(c)) => Layout::nhwc(n, h, w, c),
            Shape::Strided(Side(o), Side(f), Side(i), Side(stride)) => Layout::new(o, f, i).with_outer_stride(stride),
        }
    }

    /// Returns `[outer, features, inner]` as documented: products that overflow saturate.
    pub fn expected(self) -> [usize; 3] {
        let product = |sides: &[Side]| product(sides.iter().map(|side| side.0)).unwrap_or(usize::MAX);
        match self {
            Shape::New(o, f, i) | Shape::Ncl(o, f, i) | Shape::Strided(o, f, i, _) => [o.0, f.0, i.0],
            Shape::Nc(n, c) => [n.0, c.0, 1],
            Shape::Nchw(n, c, h, w) => [n.0, c.0, product(&[h, w])],
            Shape::Ncdhw(n, c, d, h, w) => [n.0, c.0, product(&[d, h, w])],
            Shape::Nhwc(n, h, w, c) => [product(&[n, h, w]), c.0, 1],
        }
    }
}

/// Returns the product, or `None` if it overflows. It is 0 if one dimension is 0, whatever the others are.
pub fn product(sides: impl Iterator<Item = usize> + Clone) -> Option<usize> {
    if sides.clone().any(|side| side == 0) {
        return Some(0);
    }
    sides.into_iter().try_fold(1usize, usize::checked_mul)
}

/// A number of values: that of the layout if it is small, or another one.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Len {
    Fits,
    Other(u8),
}

impl Len {
    pub fn of(self, layout: Layout) -> usize {
        match (self, layout.checked_span()) {
            (Len::Fits, Some(len)) if len <= 4096 => len,
            (Len::Fits, _) => 0,
            (Len::Other(len), _) => len.into(),
        }
    }
}

/// Returns `[outer, features, inner]`: what batches that go together have in common.
pub fn shape(layout: Layout) -> [usize; 3] {
    [layout.outer(), layout.features(), layout.inner()]
}

fn block(layout: Layout) -> u128 {
    layout.features() as u128 * layout.inner() as u128
}

/// Returns the length of slice that a layout needs, and whether its outer blocks overlap.
fn span(layout: Layout) -> (Option<usize>, bool) {
    let [outer, stride] = [layout.outer(), layout.outer_stride()].map(|side| side as u128);
    let block = block(layout);
    let (len, span) = match outer.checked_mul(block) {
        Some(0) => (Some(0), Some(0)),
        len => (len, (outer.max(1) - 1).checked_mul(stride).and_then(|span| span.checked_add(block))),
    };
    let fits = |len: Option<u128>| len.and_then(|len| isize::try_from(len).ok()).map(|len| len as usize);
    let needed = fits(len).and(fits(span));
    // A layout without gaps has the smallest stride, which may saturate.
    (needed, stride < block.min(usize::MAX as u128))
}

/// Returns a batch of the shape, if it is valid and its results are small.
///
/// # Panics
/// If an invalid one is not refused, or for another reason.
pub fn batch(data: &[f32], shape: Shape) -> Option<Batch<'_, f32>> {
    let layout = shape.layout();
    let (x, (needed, overlaps)) = (Batch::new(data, layout), span(layout));
    assert_eq!(layout.checked_span(), needed);
    let gaps = matches!(shape, Shape::Strided(..)) && layout.outer_stride() as u128 != block(layout);
    match x {
        Ok(x) => {
            assert_eq!((needed, x.layout()), (Some(x.data().len()), layout));
            assert!(!overlaps && (gaps || x.data().len() == data.len()));
        }
        Err(Error::Overflow { layout: given, .. }) => assert_eq!((needed, given), (None, layout)),
        Err(Error::Stride { layout: given, .. }) => assert_eq!((overlaps, given), (true, layout)),
        Err(Error::Length { needed: said, given, .. }) => {
            assert_eq!((Some(said), given), (needed, data.len()));
            assert!(said > given || said != given && !gaps);
        }
        Err(Error::EmptyTooWide { most, given, .. }) => {
            assert_eq!((needed, given), (Some(0), layout.features()));
            assert!(given > most);
        }
        Err(error) => panic!("{error:?} for {layout}"),
    }
    if let Err(error) = x {
        assert!(!error.to_string().is_empty());
    }
    let mut copy = data.to_vec();
    assert_eq!(BatchMut::new(&mut copy, layout).err(), x.err());
    x.ok().filter(|x| x.layout().features() <= MOST_FEATURES || !x.data().is_empty())
}

pub fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| i as f32 * 0.75 - 3.0).collect()
}

/// Returns the number of values per feature. (The other dimensions of an empty batch may be any numbers.)
pub fn count(layout: Layout) -> u64 {
    if layout.checked_len() == Some(0) { 0 } else { layout.count() as u64 }
}

/// A shape and the length of its values.
pub type ShapeLen = (Shape, Len);

/// Values for a shape, of a length that may not fit.
pub struct Values {
    shape: Shape,
    values: Vec<f32>,
}

impl Values {
    /// Makes the values.
    pub fn of((shape, len): ShapeLen) -> Self {
        Values { shape, values: values(len.of(shape.layout())) }
    }

    /// Returns the batch: see [`batch`].
    pub fn batch(&self) -> Option<Batch<'_, f32>> {
        batch(&self.values, self.shape)
    }

    /// Returns the batch, to write to, under the same condition.
    pub fn batch_mut(&mut self) -> Option<BatchMut<'_, f32>> {
        let small = self.batch().is_some();
        BatchMut::new(&mut self.values, self.shape.layout()).ok().filter(|_| small)
    }

    /// Returns the values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}
