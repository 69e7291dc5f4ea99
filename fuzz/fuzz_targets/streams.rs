//! Streams: every path and every split of the rows gives the bits of the scalar path, and the numbers are within their
//! bounds of exact arithmetic. What is not finite stays in its feature.
#![no_main]

use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use batchnorm::{Batch, BatchMut, Ewm, Forgetting, Isa, Layout, Path, Standardize, Welford};
use batchnorm_fuzz::assert_same_bits;
use batchnorm_fuzz::stream_oracle::{Exact, check_classes, check_exact, check_outputs, in_range};
use batchnorm_fuzz::values::{FromBits, Recipe, cycle};
use libfuzzer_sys::fuzz_target;
use rayon::ThreadPool;

/// Most values of an ordinary input, and most rows of a column that is compared with exact arithmetic: without and with
/// weights, whose digits grow with each row.
const MOST_VALUES: usize = 20_000;
const MOST_EXACT: usize = 1500;
const MOST_WEIGHTED: usize = 24;

#[derive(Debug, Arbitrary)]
struct Header {
    double: bool,
    features: u8,
    /// Sixteen times as many features, if it is large.
    wide: u8,
    len: u16,
    /// Rows of the pieces, used in turn. 0 is a row that is normalised as well.
    pieces: [u8; 4],
    /// Where the rows are cut, in 256ths: those between are of another stream, which is merged.
    cuts: [u8; 2],
    options: u8,
    alpha: Alpha,
    recipe: Recipe,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Alpha {
    Share(u16),
    /// A power of two.
    Power(u8),
    /// All but a power of two, or 1.
    NearlyOne(u8),
    HalfLife(u16),
}

impl Header {
    fn features(&self) -> usize {
        (1 + usize::from(self.features) % 80) * if self.wide >= 0xf0 { 16 } else { 1 }
    }

    fn layout(&self) -> Layout {
        // The fourth power, so that most streams are short.
        let square = (usize::from(self.len) + 1).pow(2) >> 16;
        let features = self.features();
        Layout::nc((MOST_VALUES * square * square).div_ceil(features << 32), features)
    }

    fn bit(&self, bit: u8) -> bool {
        self.options >> bit & 1 == 1
    }

    fn forgetting(&self) -> Forgetting {
        let forgetting = match self.alpha {
            Alpha::Share(share) => Forgetting::from_alpha((f64::from(share) + 1.0) / 65536.0),
            Alpha::Power(power) => Forgetting::from_alpha(2f64.powi(-i32::from(power))),
            Alpha::NearlyOne(power) => Forgetting::from_alpha(1.0 - 2f64.powi(-1 - i32::from(power % 60))),
            Alpha::HalfLife(rows) => Forgetting::from_half_life((f64::from(rows) + 1.0) / 16.0),
        };
        forgetting.expect("in range").with_adjust(self.bit(0))
    }

    fn standardize(&self) -> Standardize {
        let clip = if self.bit(3) { 0.75 } else { f64::INFINITY };
        let with_eps = Standardize::new().with_eps(if self.bit(5) { 0.0 } else { 1e-8 }).expect("in range");
        let with_ddof = with_eps.with_ddof(if self.bit(4) { 1.0 } else { 0.0 }).expect("in range");
        with_ddof.with_clip(clip).expect("in range")
    }
}

/// What both types of streams do.
trait Stream: Clone + Send + Sync + PartialEq + std::fmt::Debug {
    fn by(self, path: Path) -> Self;
    fn row<T: FromBits>(&mut self, row: &[T]);
    fn rows<T: FromBits>(&mut self, x: Batch<'_, T>);
    fn row_normalized<T: FromBits>(&mut self, row: &[T], options: &Standardize) -> Vec<T>;
    fn normalized<T: FromBits>(&self, x: Batch<'_, T>, options: &Standardize) -> Vec<T>;
    /// Means, variances and standard deviations of all features, one kind after the other.
    fn numbers(&self) -> Vec<f64>;
    fn start_anew(&mut self);
}

macro_rules! stream {
    ($stream:ty) => {
        impl Stream for $stream {
            fn by(self, path: Path) -> Self {
                self.with_path(path)
            }
            fn row<T: FromBits>(&mut self, row: &[T]) {
                self.push(row).expect("fits");
            }
            fn rows<T: FromBits>(&mut self, x: Batch<'_, T>) {
                self.push_rows(x).expect("fits");
            }
            fn row_normalized<T: FromBits>(&mut self, row: &[T], options: &Standardize) -> Vec<T> {
                let mut y = row.to_vec();
                self.push_and_normalize(row, &mut y, options).expect("fits");
                y
            }
            fn normalized<T: FromBits>(&self, x: Batch<'_, T>, options: &Standardize) -> Vec<T> {
                let mut y = x.data().to_vec();
                self.normalize_rows_into(x, BatchMut::new(&mut y, x.layout()).expect("fits"), options).expect("fits");
                y
            }
            fn numbers(&self) -> Vec<f64> {
                let features = self.num_features();
                let mut numbers = vec![0.0; 4 * features];
                self.means_into(&mut numbers[..features]).expect("fits");
                self.variances_into(0.0, &mut numbers[features..2 * features]).expect("fits");
                self.variances_into(1.0, &mut numbers[2 * features..3 * features]).expect("fits");
                self.std_devs_into(0.5, &mut numbers[3 * features..]).expect("fits");
                numbers
            }
            fn start_anew(&mut self) {
                self.reset();
            }
        }
    };
}

stream!(Welford);
stream!(Ewm);

/// The rows, and what to do with them.
struct Input<'a, T> {
    header: &'a Header,
    data: Vec<T>,
    layout: Layout,
    options: Standardize,
}

/// Whether all rows come at once, or in the header's pieces.
#[derive(Clone, Copy, PartialEq)]
enum Split {
    Whole,
    Pieces,
}

/// How a stream takes in another one.
type Join<S> = Option<fn(&mut S, &S)>;

impl<T: FromBits> Input<'_, T> {
    fn batch<'a>(&self, rows: &'a [T]) -> Batch<'a, T> {
        Batch::new(rows, Layout::nc(rows.len() / self.layout.features(), self.layout.features())).expect("whole rows")
    }

    /// The three parts of the rows.
    fn parts(&self) -> [&[T]; 3] {
        let cut = |cut: u8| self.layout.outer() * usize::from(cut) / 256 * self.layout.features();
        let [a, b] = self.header.cuts.map(cut);
        let (first, second) = (a.min(b), a.max(b));
        [&self.data[..first], &self.data[first..second], &self.data[second..]]
    }

    /// The first and the last rows.
    fn sample(&self) -> Vec<T> {
        let few = self.layout.features() * self.layout.outer().min(3);
        [&self.data[..few], &self.data[self.data.len() - few..]].concat()
    }

    fn feed<S: Stream>(&self, stream: &mut S, mut rows: &[T], split: Split) {
        if split == Split::Whole {
            return stream.rows(self.batch(rows));
        }
        let features = self.layout.features();
        for piece in self.header.pieces.iter().cycle() {
            if rows.is_empty() {
                break;
            }
            let (now, later) = rows.split_at(rows.len().min(usize::from(*piece).max(1) * features));
            match piece {
                0 => {
                    let given = stream.row_normalized(now, &self.options);
                    let expected = stream.clone().by(Path::Scalar).normalized(self.batch(now), &self.options);
                    assert_same_bits("pushed and normalised", &expected, &given);
                }
                1 => stream.row(now),
                _ => stream.rows(self.batch(now)),
            }
            rows = later;
        }
    }

    fn run<S: Stream>(&self, new: &S, path: Path, split: Split, join: Join<S>) -> (S, Vec<T>) {
        let mut stream = new.clone().by(path);
        let [first, second, third] = self.parts();
        if split == Split::Pieces && self.header.bit(1) {
            self.feed(&mut stream, third, split);
            stream.start_anew();
            assert_eq!(stream, *new, "a stream that was reset is not new");
        }
        self.feed(&mut stream, first, split);
        match join {
            Some(join) => {
                let mut other = new.clone().by(path);
                self.feed(&mut other, second, split);
                join(&mut stream, &other);
            }
            None => self.feed(&mut stream, second, split),
        }
        self.feed(&mut stream, third, split);
        let y = stream.normalized(self.batch(&self.sample()), &self.options);
        (stream, y)
    }

    /// Runs the stream by every path in pieces, and compares it with the scalar path, which it returns.
    fn check_paths<S: Stream>(&self, new: &S, join: Join<S>) -> (S, Vec<T>) {
        let (expected, y) = self.run(new, Path::Scalar, Split::Whole, join);
        let numbers = expected.numbers();
        for (path_name, path, pool) in paths() {
            for split in [Split::Whole, Split::Pieces] {
                let run = || self.run(new, path, split, join);
                let (given, given_y) = pool.map_or_else(run, |pool| pool.install(run));
                let pieces = self.header.pieces;
                let name = format!("{}, {path_name}, {pieces:?}, {}", self.layout, std::any::type_name::<T>());
                assert_same_bits(&format!("{name}: numbers"), &numbers, &given.numbers());
                assert_same_bits(&format!("{name}: normalised"), &y, &given_y);
                assert!(given == expected, "{name}: {given:?} is not {expected:?}");
            }
        }
        (expected, y)
    }

    fn column(&self, feature: usize) -> Vec<f64> {
        self.data.iter().skip(feature).step_by(self.layout.features()).map(|x| x.to_f64()).collect()
    }

    /// Checks that features without NaN or infinities do not notice those of others.
    fn check_poison<S: Stream>(&self, new: &S, join: Join<S>, numbers: &[f64]) {
        let features = self.layout.features();
        let clean: Vec<bool> =
            (0..features).map(|feature| self.column(feature).iter().all(|x| x.is_finite())).collect();
        if clean.iter().all(|clean| *clean) || !clean.contains(&true) {
            return;
        }
        let cured = |(at, x): (usize, &T)| if clean[at % features] { *x } else { T::from_f64(1.0) };
        let data = self.data.iter().enumerate().map(cured).collect();
        let cured = Input { data, ..*self };
        let given = cured.run(new, Path::Auto, Split::Pieces, join).0.numbers();
        for at in (0..numbers.len()).filter(|at| clean[at % features]) {
            assert_same_bits("a feature notices what is not finite in another", &given[at..=at], &numbers[at..=at]);
        }
    }
}

/// Returns the paths of this machine, the parallel ones in pools of 1 and 3 threads.
fn paths() -> Vec<(String, Path, Option<&'static ThreadPool>)> {
    static POOLS: OnceLock<[ThreadPool; 2]> = OnceLock::new();
    let new = || [1, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a pool"));
    let mut paths = vec![("scalar".into(), Path::Scalar, None), ("auto".into(), Path::Auto, None)];
    for isa in Isa::available() {
        paths.push((format!("simd on {isa}"), Path::Simd(isa), None));
        for pool in POOLS.get_or_init(new) {
            let name = format!("parallel on {isa}, {} threads", pool.current_num_threads());
            paths.push((name, Path::Parallel(isa), Some(pool)));
        }
    }
    paths
}

fn check_stream<T: FromBits, S: Stream>(
    input: &Input<'_, T>,
    new: &S,
    join: Join<S>,
    most: usize,
    oracle: impl Fn(&[f64]) -> Exact,
) -> S {
    let (stream, y) = input.check_paths(new, join);
    let numbers = stream.numbers();
    input.check_poison(new, join, &numbers);
    let (features, sample) = (input.layout.features(), input.sample());
    for feature in 0..features {
        let name = format!("{new:?}, {}, feature {feature}", input.layout);
        let values = input.column(feature);
        let numbers = [0, 1, 2].map(|number| numbers[number * features + feature]);
        check_classes(&name, &values, numbers[0], numbers[1]);
        let chosen = [0, features / 2, features - 1].contains(&feature);
        if chosen && (1..=most).contains(&values.len()) && in_range(&values) {
            let exact = oracle(&values);
            check_exact(&name, &exact, numbers);
            let pairs = sample.iter().copied().zip(y.iter().copied()).skip(feature).step_by(features);
            if values.len() > 1 {
                check_outputs(&name, &exact, &pairs.collect::<Vec<_>>(), &input.options);
            }
        }
    }
    let limit = T::from_f64(input.options.clip()).to_f64();
    assert!(y.iter().all(|y| !(y.to_f64().abs() > limit)), "a normalised value is not clipped to {limit}");
    stream
}

fn check<T: FromBits>(header: &Header, bytes: &[u8]) {
    let layout = header.layout();
    let data = cycle(&header.recipe.values(bytes), layout.checked_len().expect("a small layout"));
    let input = Input::<T> { header, data, layout, options: header.standardize() };

    let merge: fn(&mut Welford, &Welford) = |stream, other| stream.merge(other).expect("same features");
    let join = header.bit(2).then_some(merge);
    let stream = check_stream(&input, &Welford::new(layout.features()), join, MOST_EXACT, Exact::equal);
    let moments = stream.moments();
    let restored = Welford::from_moments(&moments).expect("one count");
    assert_eq!(restored.moments(), moments, "{layout}: moments of a stream that continues from them");

    let forgetting = header.forgetting();
    let weighted = |values: &[f64]| Exact::weighted(values, forgetting);
    let _ = check_stream(&input, &Ewm::new(layout.features(), forgetting), None, MOST_WEIGHTED, weighted);
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(header) = Header::arbitrary(&mut bytes) else { return };
    let bytes = bytes.take_rest();
    if header.double { check::<f64>(&header, bytes) } else { check::<f32>(&header, bytes) }
});
