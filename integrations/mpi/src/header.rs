//! What each rank says before an exchange: whether it can take part, what it calls, and on which layer.

use batchnorm::{Activation, Averaging, BatchNorm, Element, FewValues, Moments, NonFinite, Precision};
use mpi::Rank;

use crate::element;
use crate::error::{Error, Result};
use crate::plan::Shape;

/// What a rank calls. The name is what messages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    ForwardTrain = 1,
    BackwardTrain,
    CheckSameState,
    AllMoments,
    AllSums,
    ReportFailure,
}

impl Call {
    pub(crate) fn name(self) -> &'static str {
        name(self as u64)
    }
}

fn name(code: u64) -> &'static str {
    let names = ["forward_train", "backward_train", "check_same_state", "all_moments", "all_sums", "report_failure"];
    (code as usize).checked_sub(1).and_then(|at| names.get(at)).unwrap_or(&"an unknown call")
}

/// The words of a header. Those from `Protocol` on must be the same on all ranks.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// 0 if the rank can take part, otherwise the number of bytes of its reason.
    Failure,
    Outer,
    Inner,
    Protocol,
    Call,
    Element,
    Features,
    Eps,
    Averaging,
    Momentum,
    RunningDdof,
    Policies,
    HasArrays,
    Activation,
    Precision,
    BatchesTracked,
    ValuesTracked,
    ReceiveBuffer,
    GatherLimit,
    Moments,
    Weight,
    Bias,
    RunningMean,
    RunningVar,
}

pub(crate) const WORDS: usize = Word::RunningVar as usize + 1;

/// "bnmpi", and the version of the words.
const PROTOCOL: u64 = 0x62_6e6d_7069_0001;

/// How a message shows a word.
type Show = fn(u64) -> String;

/// What ranks must agree on, in the order in which it is checked.
const COMPARED: [(Word, &str, Show); WORDS - 3] = [
    (Word::Protocol, "the version of batchnorm-mpi", hexadecimal),
    (Word::Call, "the call", |word| name(word).to_string()),
    (Word::Element, "the element type", element::name),
    (Word::Features, "the number of features", number),
    (Word::Eps, "eps", float),
    (Word::Averaging, "the averaging of the running statistics", |word| {
        ["a momentum", "an average over batches", "an average over values"][(word as usize).min(2)].to_string()
    }),
    (Word::Momentum, "momentum", float),
    (Word::RunningDdof, "running_ddof", float),
    (Word::Policies, "the policies for few values and for NaN", number),
    (Word::HasArrays, "which of weight, bias and running statistics there are", number),
    (Word::Activation, "the activation", number),
    (Word::Precision, "the precision", number),
    (Word::BatchesTracked, "num_batches_tracked", number),
    (Word::ValuesTracked, "num_values_tracked", number),
    (Word::ReceiveBuffer, "the receive buffer", number),
    (Word::GatherLimit, "the gather limit", number),
    (Word::Moments, "the moments of the batch", hexadecimal),
    (Word::Weight, "the weight", hexadecimal),
    (Word::Bias, "the bias", hexadecimal),
    (Word::RunningMean, "running_mean", hexadecimal),
    (Word::RunningVar, "running_var", hexadecimal),
];

fn number(word: u64) -> String {
    word.to_string()
}

fn float(word: u64) -> String {
    f64::from_bits(word).to_string()
}

fn hexadecimal(word: u64) -> String {
    format!("{word:#018x}")
}

/// The words of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header([u64; WORDS]);

impl Header {
    pub(crate) fn new(call: Call) -> Self {
        let mut header = Header([0; WORDS]);
        header.set(Word::Protocol, PROTOCOL);
        header.set(Word::Call, call as u64);
        header
    }

    fn set(&mut self, word: Word, value: u64) {
        self.0[word as usize] = value;
    }

    fn get(&self, word: Word) -> u64 {
        self.0[word as usize]
    }

    pub(crate) fn with_features(mut self, features: usize) -> Self {
        self.set(Word::Features, features as u64);
        self
    }

    pub(crate) fn with_element<T: Element>(mut self) -> Self {
        self.set(Word::Element, element::code::<T>());
        self
    }

    pub(crate) fn with_shape(mut self, shape: Shape) -> Self {
        self.set(Word::Outer, shape.outer);
        self.set(Word::Inner, shape.inner);
        self
    }

    pub(crate) fn with_buffers(mut self, receive: usize, gather: usize) -> Self {
        self.set(Word::ReceiveBuffer, receive as u64);
        self.set(Word::GatherLimit, gather as u64);
        self
    }

    /// Adds what makes two layers the same, but for the contents of their arrays.
    pub(crate) fn with_options(mut self, bn: &BatchNorm) -> Self {
        self.set(Word::Features, bn.num_features() as u64);
        self.set(Word::Eps, bn.eps().to_bits());
        let averaging = match bn.averaging() {
            Averaging::Exponential { .. } => 0,
            Averaging::Batches => 1,
            _ => 2,
        };
        self.set(Word::Averaging, averaging);
        self.set(Word::Momentum, bn.momentum().unwrap_or(0.0).to_bits());
        self.set(Word::RunningDdof, bn.running_ddof().to_bits());
        let (few, refuse) = (bn.few_values() != FewValues::Refuse, bn.non_finite() == NonFinite::Refuse);
        self.set(Word::Policies, bits([few, refuse, false]));
        self.set(Word::HasArrays, bits([bn.weight().is_some(), bn.bias().is_some(), bn.tracks_running_stats()]));
        self.set(Word::Activation, u64::from(bn.activation() == Activation::Relu));
        self.set(Word::Precision, u64::from(bn.precision() == Precision::Double));
        self.set(Word::BatchesTracked, bn.num_batches_tracked());
        self.set(Word::ValuesTracked, bn.num_values_tracked());
        self
    }

    /// Adds a fingerprint of the moments of a backward pass.
    pub(crate) fn with_moments(mut self, moments: &Moments) -> Self {
        let counts = moments.counts().iter().fold(0, |hash, count| mix(hash, *count));
        self.set(Word::Moments, [moments.means(), moments.m2s()].into_iter().fold(counts, fingerprint));
        self
    }

    /// Adds fingerprints of the layer's arrays.
    pub(crate) fn with_state(mut self, bn: &BatchNorm) -> Self {
        self.set(Word::Weight, fingerprint(0, bn.weight().unwrap_or_default()));
        self.set(Word::Bias, fingerprint(0, bn.bias().unwrap_or_default()));
        self.set(Word::RunningMean, fingerprint(0, bn.running_mean()));
        self.set(Word::RunningVar, fingerprint(0, bn.running_var()));
        self
    }

    /// Says that the rank cannot take part, for a reason of so many bytes.
    pub(crate) fn with_failure(mut self, bytes: usize) -> Self {
        self.set(Word::Failure, bytes as u64);
        self
    }

    pub(crate) fn failure(&self) -> usize {
        self.get(Word::Failure) as usize
    }

    pub(crate) fn features(&self) -> usize {
        self.get(Word::Features) as usize
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape { outer: self.get(Word::Outer), inner: self.get(Word::Inner) }
    }

    pub(crate) fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    pub(crate) fn from_words(words: &[u64; WORDS]) -> Self {
        Header(*words)
    }
}

/// Checks that all ranks make the same call on the same layer.
pub(crate) fn check_same(headers: &[Header]) -> Result<()> {
    let Some(first) = headers.first() else { return Ok(()) };
    for (word, what, show) in COMPARED {
        let expected = first.get(word);
        if let Some(rank) = headers.iter().position(|header| header.get(word) != expected) {
            let ranks = [(0, show(expected)), (rank as Rank, show(headers[rank].get(word)))];
            return Err(Error::Disagreement { what, ranks });
        }
    }
    Ok(())
}

fn bits(flags: [bool; 3]) -> u64 {
    flags.iter().rev().fold(0, |word, flag| word << 1 | u64::from(*flag))
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Hashes values. All NaN are one, because their bits may differ between machines.
fn fingerprint(start: u64, values: &[f64]) -> u64 {
    values
        .iter()
        .fold(start, |hash, value| mix(hash, if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }))
}

#[cfg(test)]
mod tests {
    use batchnorm::BatchNorm;

    use super::{COMPARED, Call, Header, Shape, WORDS, check_same, name};

    #[test]
    fn every_word_that_must_agree_is_compared() {
        let same =
            Header::new(Call::ForwardTrain).with_options(&BatchNorm::new(3)).with_shape(Shape { outer: 4, inner: 1 });
        assert_eq!(check_same(&[same, same.with_shape(Shape { outer: 0, inner: 9 })]), Ok(()));
        for word in 3..WORDS {
            let mut other = same;
            other.0[word] ^= 1;
            assert!(check_same(&[same, same, other]).is_err(), "word {word}");
        }
        let mut words: Vec<usize> = COMPARED.iter().map(|(word, ..)| *word as usize).collect();
        words.sort_unstable();
        assert!(words.into_iter().eq(3..WORDS));
    }

    #[test]
    fn messages_name_ranks_and_values() {
        let of = |bn: &BatchNorm| Header::new(Call::ForwardTrain).with_options(bn);
        let error = check_same(&[of(&BatchNorm::new(3)), of(&BatchNorm::new(3)), of(&BatchNorm::new(5))]).unwrap_err();
        assert_eq!(error.to_string(), "the ranks disagree on the number of features: rank 0 has 3, but rank 2 has 5");
        let other = BatchNorm::new(3).with_momentum(0.25).expect("in range");
        let error = check_same(&[of(&BatchNorm::new(3)), of(&other)]).unwrap_err();
        assert_eq!(error.to_string(), "the ranks disagree on momentum: rank 0 has 0.1, but rank 1 has 0.25");
        let error = check_same(&[Header::new(Call::AllSums), Header::new(Call::BackwardTrain)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the ranks disagree on the call: rank 0 has all_sums, but rank 1 has backward_train"
        );
        assert_eq!(
            (Call::ReportFailure.name(), name(0), name(7)),
            ("report_failure", "an unknown call", "an unknown call")
        );
    }

    #[test]
    fn a_fingerprint_changes_with_any_value() {
        let of = |values: [f64; 3]| super::fingerprint(0, &values);
        assert_ne!(of([1.0, 2.0, 3.0]), of([1.0, 3.0, 2.0]));
        assert_ne!(of([0.0, 0.0, 0.0]), of([0.0, -0.0, 0.0]));
        assert_eq!(of([1.0, f64::NAN, 3.0]), of([1.0, -f64::NAN, 3.0]));
    }
}
