//! A pipeline of threads: one reads rows in parts, some work on the parts, and the caller takes the results in order.
//! The parts' buffers go round in a circle, so memory is bounded, however long the source is.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The shape of a pipeline.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Values in a row.
    pub(crate) features: usize,
    /// Rows in a part: all parts have as many, but for the last one.
    pub(crate) rows: usize,
    /// Parts in memory.
    pub(crate) parts: usize,
    /// Threads that work on parts.
    pub(crate) workers: usize,
}

impl Shape {
    /// Returns how many bytes the parts take, as bytes of the source and as values.
    pub(crate) fn memory(self) -> usize {
        2 * self.parts * self.rows * self.features * size_of::<f32>()
    }
}

/// Consecutive rows of the source.
pub(crate) struct Part {
    number: u64,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Part {
    /// Returns the values, row by row.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the values of the rows, to be changed in place.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Returns the bytes: as the source had them, or as the values were when they were last encoded.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Replaces the bytes by those of the values.
    pub(crate) fn encode(&mut self) {
        for (bytes, value) in self.bytes.chunks_exact_mut(size_of::<f32>()).zip(&self.values) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn decode(&mut self) {
        let (values, _) = self.bytes.as_chunks();
        self.values.clear();
        self.values.extend(values.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
}

/// Reads rows of little-endian f32 to the end of a source. Each part goes through `work` on one of several threads, and
/// then through `take` on this one, in the order of the source. The failure that arrives first ends everything, and is
/// returned; so does a panic of `work`.
pub(crate) fn run(
    source: impl Read + Send,
    shape: Shape,
    work: impl Fn(&mut Part) -> Result<(), Failure> + Sync,
    mut take: impl FnMut(&mut Part) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (give_back, empty) = channel();
    for _ in 0..shape.parts.max(1) {
        // The bytes come when the part is first filled.
        give_back.send(Part { number: 0, bytes: Vec::new(), values: Vec::new() })?;
    }
    let (filled, to_work) = channel();
    let (worked, to_take) = channel();
    let to_work = Mutex::new(to_work);
    thread::scope(|scope| {
        // Each of these ends when those before it or after it have ended: then its channel is closed.
        scope.spawn(move || read(source, shape, &empty, &filled));
        for _ in 0..shape.workers.max(1) {
            let (worked, to_work, work) = (worked.clone(), &to_work, &work);
            scope.spawn(move || {
                while let Some(part) = next(to_work) {
                    let done = part.and_then(|mut part| {
                        part.decode();
                        // Without the part that it was at, the others would wait forever.
                        catch_unwind(AssertUnwindSafe(|| work(&mut part))).map_err(|_| "a worker panicked")??;
                        Ok(part)
                    });
                    if worked.send(done).is_err() {
                        return;
                    }
                }
            });
        }
        drop(worked);
        let mut early = BTreeMap::new();
        let mut wanted = 0;
        // Moved in, so that a failure closes both channels.
        let (to_take, give_back) = (to_take, give_back);
        for part in &to_take {
            let part: Part = part?;
            early.insert(part.number, part);
            while let Some(mut part) = early.remove(&wanted) {
                take(&mut part)?;
                wanted += 1;
                // The reader may have come to the end.
                let _ = give_back.send(part);
            }
        }
        Ok(())
    })
}

fn next(to_work: &Mutex<Receiver<Result<Part, Failure>>>) -> Option<Result<Part, Failure>> {
    to_work.lock().ok()?.recv().ok()
}

/// Fills empty parts until the source ends.
fn read(mut source: impl Read, shape: Shape, empty: &Receiver<Part>, filled: &Sender<Result<Part, Failure>>) {
    for (number, mut part) in (0..).zip(empty) {
        part.number = number;
        let values = shape.rows * shape.features;
        let reserved = part.values.try_reserve_exact(values.saturating_sub(part.values.len()));
        let more = (values * size_of::<f32>()).saturating_sub(part.bytes.len());
        if let Err(error) = reserved.and_then(|()| part.bytes.try_reserve_exact(more)) {
            let _ = filled.send(Err(error.into()));
            return;
        }
        part.bytes.resize(values * size_of::<f32>(), 0);
        let len = match fill(&mut source, &mut part.bytes) {
            Ok(0) => return,
            Ok(len) if len % (shape.features * size_of::<f32>()) == 0 => len,
            Ok(len) => {
                let row = shape.features * size_of::<f32>();
                let message = format!("the source ends within a row: {} bytes of {row}", len % row);
                let _ = filled.send(Err(message.into()));
                return;
            }
            Err(error) => {
                let _ = filled.send(Err(error.into()));
                return;
            }
        };
        part.bytes.truncate(len);
        if filled.send(Ok(part)).is_err() {
            return;
        }
    }
}

/// Reads until the buffer is full or the source ends. Returns the number of bytes.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match source.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
