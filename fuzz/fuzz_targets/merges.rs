//! Merging moments at a standard deviation near the last place of the mean: a search for chunks whose rounding errors
//! line up. The oracle is integer arithmetic.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use batchnorm_fuzz::merging::{Part, Search, UNIT, chunk, one_by_one, tree};
use libfuzzer_sys::fuzz_target;

/// Most units in its last place that a variance may be off. The documented bound is 4, for any data; but the sums of a
/// chunk of these values are exact, so only merging and one rounding to f64 are left.
const VARIANCE_ULP: f64 = 1.0;

const MOST_CHUNKS: usize = 64;

/// Most different chunks, because the search tries each of them everywhere.
const MOST_CANDIDATES: usize = 8;

/// Chunks up to this many times the candidates are searched: the time grows with the square of the chunks.
const MOST_SEARCHED: usize = 100;

#[derive(Debug, Arbitrary)]
struct Header {
    /// Values per chunk.
    len: u16,
    chunks: u8,
    candidates: u8,
    /// The mean is 2^52 units, halved so many times.
    halvings: u8,
    one_by_one: bool,
}

/// A chunk that the search may place anywhere.
#[derive(Debug, Arbitrary)]
struct Candidate {
    /// How many of the chunk's values are one unit up.
    k: u16,
    level: u8,
    /// How much shorter than the others the chunk is, if at all.
    shorter: u8,
}

impl Candidate {
    fn chunk(&self, unit: f64, len: usize) -> Part {
        let len = if self.shorter < 128 { len } else { len - usize::from(self.shorter) % len };
        chunk(unit, len, usize::from(self.level) % 3, usize::from(self.k) % (len + 1))
    }
}

fn check(bytes: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let header = Header::arbitrary(bytes)?;
    let (len, unit) = (2 + usize::from(header.len) % 4095, UNIT * f64::from(1u32 << (header.halvings % 16)));
    let candidates: Vec<Part> = (0..1 + usize::from(header.candidates) % MOST_CANDIDATES)
        .map(|_| Ok(Candidate::arbitrary(bytes)?.chunk(unit, len)))
        .collect::<arbitrary::Result<_>>()?;
    let mut chunks = (0..1 + usize::from(header.chunks) % MOST_CHUNKS)
        .map(|_| Ok(candidates[usize::from(u8::arbitrary(bytes)?) % candidates.len()].clone()))
        .collect::<arbitrary::Result<Vec<_>>>()?;
    let merged = if header.one_by_one { one_by_one } else { tree };
    let search = Search { unit, merged, candidates: &candidates };
    let (moments, whole) = merged(&chunks);
    assert_eq!(i128::from(moments.count(0)), whole.count);
    if whole.count * whole.squares == whole.sum * whole.sum {
        assert_eq!(moments.variance(0, 0.0), 0.0, "{header:?}: all values are the same");
        return Ok(());
    }
    let sweeps = usize::from(chunks.len() * candidates.len() <= MOST_SEARCHED);
    let error = search.run(&mut chunks, sweeps);
    assert!(error <= VARIANCE_ULP, "{} chunks of {len}: {error} units off, {header:?}", chunks.len());
    Ok(())
}

// An input that is too short is none.
fuzz_target!(|data: &[u8]| {
    let _ = check(&mut Unstructured::new(data));
});
