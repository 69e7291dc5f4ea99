//! Every combination of types, with all inputs from the caller, beside the formulas in f64.

use libtest_mimic::Trial;
use ort::value::TensorElementType;

use crate::data::{DEFAULT, Numbers, converted, outputs, read, round};
use crate::{Outcome, test};

const TYPES: [(&str, TensorElementType); 4] = [
    ("f32", TensorElementType::Float32),
    ("f64", TensorElementType::Float64),
    ("f16", TensorElementType::Float16),
    ("bf16", TensorElementType::Bfloat16),
];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for x in TYPES {
        for p in TYPES {
            for s in TYPES {
                let name = format!("{}_{}_{}", x.0, p.0, s.0);
                let (eval, train) = (format!("types/eval_{name}.onnx"), format!("types/train_{name}.onnx"));
                let types = [x.1, p.1, s.1];
                tests.push(test(format!("types::eval_{name}"), move || evaluates(&eval, types)));
                tests.push(test(format!("types::train_{name}"), move || trains(&train, types)));
            }
        }
    }
    tests
}

/// Rank 1 has one channel.
const SHAPES: [&[i64]; 6] = [&[2, 3, 5, 7], &[20, 3], &[4, 3, 10], &[2, 5, 2, 3, 4], &[9], &[0, 3, 2]];

fn channels(shape: &[i64]) -> i64 {
    shape.get(1).copied().unwrap_or(1)
}

/// Scale, B, mean and variance, which differ from call to call.
fn parameters([_, p, s]: [TensorElementType; 3], channels: i64, call: f64) -> [Numbers; 4] {
    let of = |element, mean| Numbers::new(element, &[channels], mean + 0.25 * call);
    let mut all = [of(p, 1.5), of(p, -0.25), of(s, 0.5), of(s, 4.0)];
    all[3].values.iter_mut().for_each(|variance| *variance = variance.abs());
    all
}

fn inputs<'a>(x: &'a Numbers, parameters: &'a [Numbers; 4]) -> Vec<(&'static str, &'a Numbers)> {
    ["x", "scale", "B", "input_mean", "input_var"].into_iter().zip([x].into_iter().chain(parameters)).collect()
}

/// Applies `by` to each value and its channel.
fn map(x: &Numbers, by: impl Fn(f64, usize) -> f64) -> Numbers {
    let channels = channels(&x.shape) as usize;
    let inner = x.shape.iter().skip(2).product::<i64>() as usize;
    let values = x.values.iter().enumerate().map(|(at, value)| by(*value, at / inner % channels));
    Numbers { values: values.map(|value| round(x.element, value)).collect(), ..x.clone() }
}

/// How far from the formulas an output of a type may be.
fn bound(element: TensorElementType) -> (f64, f64) {
    match element {
        TensorElementType::Float16 => (1e-3, 1e-3),
        TensorElementType::Bfloat16 => (8e-3, 8e-3),
        TensorElementType::Float32 => (1e-6, 1e-6),
        _ => (1e-14, 1e-14),
    }
}

/// The attributes of the models, which ONNX has as f32.
const EPSILON: f32 = 1e-3;
const MOMENTUM: f64 = 0.75;

fn evaluates(model: &str, types: [TensorElementType; 3]) -> Outcome {
    let mut session = converted(&read(model)?, 1, DEFAULT)?;
    // One session: shapes change, and parameters do or do not.
    for shape in SHAPES {
        for call in [0.0, 0.0, 1.0] {
            let x = Numbers::new(types[0], shape, 1.0);
            let parameters = parameters(types, channels(shape), call);
            let [scale, bias, mean, variance] = &parameters;
            let expected = map(&x, |x, c| {
                (x - mean.values[c]) / (variance.values[c] + f64::from(EPSILON)).sqrt() * scale.values[c]
                    + bias.values[c]
            });
            let y = outputs(&mut session, &inputs(&x, &parameters))?;
            let (relative, absolute) = bound(types[0]);
            y[0].assert_near(&format!("{shape:?}, call {call}"), &expected, relative, absolute);
        }
    }
    Ok(())
}

fn trains(model: &str, types: [TensorElementType; 3]) -> Outcome {
    let mut session = converted(&read(model)?, 1, DEFAULT)?;
    for shape in SHAPES {
        for call in [0.0, 0.0, 1.0] {
            let x = Numbers::new(types[0], shape, 1.0 + call);
            let parameters = parameters(types, channels(shape), call);
            let [scale, bias, mean, variance] = &parameters;
            let moments: Vec<_> = (0..channels(shape) as usize).map(|channel| moments_of(&x, channel)).collect();
            let expected = map(&x, |x, c| {
                let (_, mean, variance) = moments[c];
                (x - mean) / (variance + f64::from(EPSILON)).sqrt() * scale.values[c] + bias.values[c]
            });
            let outputs = outputs(&mut session, &inputs(&x, &parameters))?;
            let name = format!("{shape:?}, call {call}");
            let (relative, absolute) = bound(types[0]);
            outputs[0].assert_near(&name, &expected, relative, absolute);
            // An empty batch moves nothing.
            let moved = |before: &Numbers, by: &dyn Fn((usize, f64, f64)) -> f64| {
                let towards = |(before, batch): (&f64, &(usize, f64, f64))| match batch.0 {
                    0 => *before,
                    _ => MOMENTUM * before + (1.0 - MOMENTUM) * by(*batch),
                };
                let values = before.values.iter().zip(&moments).map(towards);
                Numbers { values: values.map(|value| round(before.element, value)).collect(), ..before.clone() }
            };
            let (relative, absolute) = bound(types[2]);
            outputs[1].assert_near(&name, &moved(mean, &|batch| batch.1), relative, absolute);
            outputs[2].assert_near(&name, &moved(variance, &|batch| batch.2), relative, absolute);
        }
    }
    Ok(())
}

/// Returns count, mean and population variance of a channel, by two passes in f64.
fn moments_of(x: &Numbers, channel: usize) -> (usize, f64, f64) {
    let channels = channels(&x.shape) as usize;
    let inner = x.shape.iter().skip(2).product::<i64>() as usize;
    let of = || x.values.iter().enumerate().filter(move |(at, _)| at / inner % channels == channel).map(|(_, x)| *x);
    let count = of().count();
    let mean = of().sum::<f64>() / count as f64;
    (count, mean, of().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count as f64)
}
