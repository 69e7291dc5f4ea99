//! Times `batchnorm`'s stream beside other crates' running variances, row by row: see README.md.

mod versions;

use std::hint::black_box;
use std::time::Instant;

use average::Estimate;
use batchnorm::Welford;
use watermill::stats::Univariate;

const FEATURES: [usize; 4] = [4, 17, 64, 376];

/// Rows that are pushed again and again.
const ROWS: usize = 64;

/// Seconds that each contender runs in a round, at least: the time of reading the clock is negligible, and some turns
/// are not interrupted even if other programs want the processor.
const TURN: f64 = 2e-4;

/// Rows of the columns whose errors are printed, and their mean; the standard deviation is about 1.
const MANY_ROWS: usize = 1_000_000;
const MEAN: f64 = 1e12;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match &args[..] {
        [] => Some(200),
        [flag, rounds] if flag == "--rounds" => rounds.parse().ok().filter(|rounds| *rounds > 0),
        _ => None,
    };
    let Some(rounds) = rounds else {
        eprintln!("options: --rounds N (default 200)");
        std::process::exit(2);
    };
    println!("{}", versions::versions(&["average", "rolling-stats", "watermill"]));
    println!("rounds: {rounds}; lanes of this crate: {}; one thread; f64\n", batchnorm::Isa::detect().name());
    print_times(rounds);
    print_errors();
}

/// Mean and variance of each column, row by row.
trait Stream {
    fn push(&mut self, row: &[f64]);
    /// Returns the mean and the unbiased variance.
    fn moments(&self, feature: usize) -> [f64; 2];
}

impl Stream for Welford {
    fn push(&mut self, row: &[f64]) {
        Welford::push(self, row).expect("one value per feature");
    }
    fn moments(&self, feature: usize) -> [f64; 2] {
        [self.mean(feature), self.variance(feature, 1.0)]
    }
}

/// The textbook's recurrence over arrays.
struct Textbook {
    count: f64,
    means: Vec<f64>,
    m2s: Vec<f64>,
}

impl Stream for Textbook {
    fn push(&mut self, row: &[f64]) {
        self.count += 1.0;
        for ((x, mean), m2) in row.iter().zip(&mut self.means).zip(&mut self.m2s) {
            let delta = x - *mean;
            *mean += delta / self.count;
            *m2 += delta * (x - *mean);
        }
    }
    fn moments(&self, feature: usize) -> [f64; 2] {
        [self.means[feature], self.m2s[feature] / (self.count - 1.0)]
    }
}

/// The other crates have no columns, so their users keep one accumulator for each.
impl Stream for Vec<average::Variance> {
    fn push(&mut self, row: &[f64]) {
        self.iter_mut().zip(row).for_each(|(column, x)| column.add(*x));
    }
    fn moments(&self, feature: usize) -> [f64; 2] {
        [self[feature].mean(), self[feature].sample_variance()]
    }
}

impl Stream for Vec<rolling_stats::Stats<f64>> {
    fn push(&mut self, row: &[f64]) {
        self.iter_mut().zip(row).for_each(|(column, x)| column.update(*x));
    }
    fn moments(&self, feature: usize) -> [f64; 2] {
        [self[feature].mean, self[feature].std_dev.powi(2)]
    }
}

impl Stream for Vec<watermill::variance::Variance<f64>> {
    fn push(&mut self, row: &[f64]) {
        self.iter_mut().zip(row).for_each(|(column, x)| column.update(*x));
    }
    fn moments(&self, feature: usize) -> [f64; 2] {
        [self[feature].mean.get(), self[feature].get()]
    }
}

/// A stream by its name, and a function that pushes rows without a virtual call for each.
struct Contender {
    name: &'static str,
    stream: Box<dyn Rows>,
}

trait Rows: Stream {
    fn push_each(&mut self, rows: &[f64], features: usize);
}

impl<S: Stream> Rows for S {
    fn push_each(&mut self, rows: &[f64], features: usize) {
        rows.chunks_exact(features).for_each(|row| self.push(black_box(row)));
    }
}

/// Returns this crate first.
fn contenders(features: usize) -> Vec<Contender> {
    let textbook = Textbook { count: 0.0, means: vec![0.0; features], m2s: vec![0.0; features] };
    let streams: [(&'static str, Box<dyn Rows>); 5] = [
        ("this", Box::new(Welford::new(features))),
        ("textbook loop", Box::new(textbook)),
        ("average", Box::new(vec![average::Variance::new(); features])),
        ("rolling-stats", Box::new(vec![rolling_stats::Stats::<f64>::new(); features])),
        ("watermill", Box::new(vec![watermill::variance::Variance::<f64>::new(1); features])),
    ];
    streams.map(|(name, stream)| Contender { name, stream }).into()
}

/// Returns whole numbers from 0 to 14335, the same in every run: 3.5 in units of 2^-12.
fn whole_numbers(len: usize) -> Vec<u16> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (((state >> 40) * 14336) >> 24) as u16
    };
    (0..len).map(|_| next()).collect()
}

const UNIT: f64 = 1.0 / 4096.0;

fn print_times(rounds: usize) {
    println!("Nanoseconds per row; x: how many times as long as this crate took (above 1, this crate is faster).\n");
    println!("| features | peer           |  ns min | ns median | x min | x median |");
    println!("|---:|---|---:|---:|---:|---:|");
    for features in FEATURES {
        let rows: Vec<f64> = whole_numbers(ROWS * features).iter().map(|k| f64::from(*k) * UNIT).collect();
        let mut contenders = contenders(features);
        let mut times = vec![Vec::new(); contenders.len()];
        for _ in 0..rounds {
            for (contender, times) in contenders.iter_mut().zip(&mut times) {
                times.push(seconds(|| contender.stream.push_each(&rows, features)) / ROWS as f64);
            }
        }
        check(&contenders, features);
        let times: Vec<[f64; 2]> = times.into_iter().map(min_median).collect();
        for (contender, [min, median]) in contenders.iter().zip(&times) {
            let [x_min, x_median] = [min / times[0][0], median / times[0][1]];
            let (name, min, median) = (contender.name, min * 1e9, median * 1e9);
            println!("| {features:>8} | {name:<14} | {min:>7.1} | {median:>9.1} | {x_min:>5.2} | {x_median:>8.2} |");
        }
    }
}

/// Panics if a peer computes something else, because its time would be meaningless.
fn check(contenders: &[Contender], features: usize) {
    for feature in 0..features {
        let [expected, ..] = contenders else { return };
        let expected = expected.stream.moments(feature);
        for Contender { name, stream } in contenders {
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 0.01 * b;
            let given = stream.moments(feature);
            // Each has pushed the same rows, but not as often.
            assert!(given.iter().zip(&expected).all(close), "{name} differs: {given:?}, not {expected:?}");
        }
    }
}

/// Returns the seconds per call; the number of calls is doubled until they take long enough.
fn seconds(mut run: impl FnMut()) -> f64 {
    let mut calls = 1u32;
    loop {
        let start = Instant::now();
        (0..calls).for_each(|_| run());
        let time = start.elapsed().as_secs_f64();
        if time >= TURN {
            return time / f64::from(calls);
        }
        calls *= 2;
    }
}

fn min_median(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [times[0], times[times.len() / 2]]
}

fn print_errors() {
    let numbers = whole_numbers(MANY_ROWS);
    println!(
        "\nErrors after {MANY_ROWS} rows at mean/sd = {MEAN:.0e}: of the mean in standard deviations, of the variance"
    );
    println!("relative to itself. Half of the last place of the mean is 6e-5 standard deviations.\n");
    println!("| peer           | mean    | variance |");
    println!("|---|---:|---:|");
    // In whole numbers, which round nothing.
    let (n, sum) = (numbers.len() as i128, numbers.iter().map(|k| i128::from(*k)).sum::<i128>());
    let squares = numbers.iter().map(|k| i128::from(*k).pow(2)).sum::<i128>();
    let above_mean = sum as f64 / n as f64 * UNIT;
    let variance = (n * squares - sum * sum) as f64 / (n * (n - 1)) as f64 * UNIT * UNIT;
    for Contender { name, mut stream } in contenders(1) {
        for k in &numbers {
            stream.push(&[MEAN + f64::from(*k) * UNIT]);
        }
        let [given_mean, given_variance] = stream.moments(0);
        let mean_error = ((given_mean - MEAN) - above_mean).abs() / variance.sqrt();
        let variance_error = (given_variance / variance - 1.0).abs();
        println!("| {name:<14} | {mean_error:>7.0e} | {variance_error:>8.0e} |");
    }
}
