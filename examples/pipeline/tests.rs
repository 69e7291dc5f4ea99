//! The pipeline beside one call on the whole, and its failures.

use std::io::{self, Read};

use batchnorm::{Batch, BatchMut, Layout, moments};

use crate::pipeline::{self, Shape};
use crate::{freeze, measure, normalise};

fn values(rows: usize, features: usize) -> Vec<f32> {
    (0..rows * features).map(|at| 1e3 + ((at * 7919) % 1009) as f32 * (1 + at % features) as f32).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A source that gives a few bytes at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.0.len()).min(1001);
        buffer[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

#[test]
fn has_the_bits_of_one_call() {
    for (rows, features, part) in [(10_000, 7, 512), (1000, 3, 1), (999, 5, 1000), (1000, 4, 1000), (0, 4, 10)] {
        for workers in [1, 2, 5] {
            let shape = Shape { features, rows: part, parts: workers + 1, workers };
            let (mut data, layout) = (values(rows, features), Layout::nc(rows, features));
            let file = bytes(&data);
            let whole = moments(Batch::new(&data, layout).expect("a batch"));
            let mut seen = 0;
            let statistics = measure(Slow(&file), shape, |rows| seen += rows).expect("runs");
            assert_eq!(seen, rows);
            if rows == 0 {
                assert_eq!(statistics.counts(), [0; 4]);
                continue;
            }
            assert_eq!((statistics.means(), statistics.m2s()), (whole.means(), whole.m2s()));
            let norm = freeze(&statistics).expect("finite");
            let (mut y, mut encoded) = (Vec::new(), Vec::new());
            let take = |part: Batch<'_, f32>, bytes: &[u8]| {
                y.extend_from_slice(part.data());
                encoded.extend_from_slice(bytes);
                Ok(())
            };
            normalise(Slow(&file), shape, &norm, take).expect("runs");
            norm.forward_in_place(BatchMut::new(&mut data, layout).expect("a batch")).expect("runs");
            assert!(y == data && encoded == bytes(&data), "{rows} rows in parts of {part}, {workers} workers");
        }
    }
}

#[test]
fn failures_end_it() {
    let shape = Shape { features: 3, rows: 4, parts: 3, workers: 2 };
    let file = bytes(&values(100, 3));
    let message = |result: Result<(), pipeline::Failure>| result.expect_err("fails").to_string();
    // The file, a worker, and the one who takes.
    let short = pipeline::run(&file[..file.len() - 5], shape, |_| Ok(()), |_| Ok(()));
    assert_eq!(message(short), "the source ends within a row: 7 bytes of 12");
    let work = |part: &mut pipeline::Part| if part.values()[0] > 1.5e3 { Err("work".into()) } else { Ok(()) };
    assert_eq!(message(pipeline::run(&file[..], shape, work, |_| Ok(()))), "work");
    let mut taken = 0;
    let take = |_: &mut pipeline::Part| {
        taken += 1;
        if taken == 3 { Err("take".into()) } else { Ok(()) }
    };
    assert_eq!(message(pipeline::run(&file[..], shape, |_| Ok(()), take)), "take");
    assert_eq!(taken, 3);
    let panics = |part: &mut pipeline::Part| if part.values()[0] > 1.5e3 { panic!("on purpose") } else { Ok(()) };
    assert_eq!(message(pipeline::run(&file[..], shape, panics, |_| Ok(()))), "a worker panicked");
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    assert_eq!(message(pipeline::run(Broken, shape, |_| Ok(()), |_| Ok(()))), "broken");
}
