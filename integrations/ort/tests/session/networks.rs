//! Networks and layers, beside ONNX Runtime's own batch normalisation.

use libtest_mimic::Trial;
use ort::session::{Session, builder::GraphOptimizationLevel};
use ort::value::{DynValue, Tensor, TensorElementType::Float32};

use crate::data::{DEFAULT, Numbers, Run, all, converted, environment, outputs, read, session};
use crate::{Outcome, test};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for (name, nodes, shape) in [
        ("conv_bn_relu", 3, &[4, 3, 32, 32][..]),
        ("dense", 4, &[4, 3, 32, 32]),
        ("opset7", 1, &[3, 5, 8]),
        ("opset9", 1, &[3, 5, 8]),
        ("opset14", 1, &[3, 5, 8]),
        ("function", 1, &[3, 4, 8]),
        ("both_running", 1, &[3, 5, 8]),
        ("between", 1, &[2, 64, 40, 40]),
        ("between_training", 1, &[2, 64, 40, 40]),
    ] {
        for optimised in [true, false] {
            let kind = if optimised { "optimised" } else { "as_it_is" };
            let run = move || agrees_with_its_own(name, nodes, shape, optimised);
            tests.push(test(format!("networks::{name}_{kind}"), run));
        }
    }
    for (name, nodes) in [("conv_bn_relu", 3), ("dense", 4)] {
        tests.push(test(format!("networks::{name}_with_fused_relu"), move || a_fused_relu_changes_no_bit(name, nodes)));
    }
    tests.push(test("networks::an_output_may_be_left_out", an_output_may_be_left_out));
    tests.push(test("networks::branches", branches));
    tests.push(test("networks::foldable_nodes_are_left", foldable_nodes_are_left));
    tests.push(test("networks::threads_and_pieces_change_no_bit", threads_and_pieces_change_no_bit));
    tests.push(test("networks::a_large_mean_costs_nothing", a_large_mean_costs_nothing));
    tests
}

fn model(name: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    read(&format!("networks/{name}.onnx"))
}

/// Within the rounding of f32, which convolutions add up: of the largest output.
fn assert_alike(name: &str, ours: &Numbers, theirs: &Numbers) {
    let largest = theirs.values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    assert!(largest > 0.1 && largest < 1e3, "{name}: {largest}");
    ours.assert_near(name, theirs, 0.0, 2e-6 * largest);
}

fn agrees_with_its_own(name: &str, nodes: usize, shape: &[i64], optimised: bool) -> Outcome {
    let (model, run) = (model(name)?, Run { optimised, ..DEFAULT });
    let (mut theirs, mut ours) = (session(&model, run)?, converted(&model, nodes, run)?);
    for mean in [0.0, 2.0] {
        let x = Numbers::new(Float32, shape, mean);
        let [theirs, ours] = [&mut theirs, &mut ours].map(|session| outputs(session, &[("x", &x)]));
        let (theirs, ours) = (theirs?, ours?);
        assert_eq!(theirs.len(), ours.len());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_alike(name, ours, theirs);
        }
    }
    Ok(())
}

fn a_fused_relu_changes_no_bit(name: &str, nodes: usize) -> Outcome {
    let model = model(name)?;
    let fused = batchnorm_ort::Converter::new().fuse_relu().convert(&model)?;
    assert_eq!((fused.nodes().len(), fused.fused().len(), fused.left()), (nodes, nodes, &[][..]));
    // Without ONNX Runtime's optimisations both have the same convolutions.
    let run = Run { optimised: false, ..DEFAULT };
    let (mut apart, mut fused) = (converted(&model, nodes, run)?, session(fused.model(), run)?);
    let x = Numbers::new(Float32, &[4, 3, 32, 32], 0.5);
    let [apart, fused] = [&mut apart, &mut fused].map(|session| outputs(session, &[("x", &x)]));
    let (apart, fused) = (apart?, fused?);
    assert!(apart == fused && apart[0].values.iter().any(|value| *value > 0.0));
    Ok(())
}

fn an_output_may_be_left_out() -> Outcome {
    let x = Numbers::new(Float32, &[3, 5, 8], 1.0);
    let [both, one] =
        ["both_running", "one_running"].map(|name| outputs(&mut converted(&model(name)?, 1, DEFAULT)?, &[("x", &x)]));
    let (both, one) = (both?, one?);
    assert!(both.len() == 3 && one.len() == 2 && both[0] == one[0] && both[2] == one[1]);
    Ok(())
}

fn branches() -> Outcome {
    let model = model("branches")?;
    let (mut theirs, mut ours) = (session(&model, DEFAULT)?, converted(&model, 2, DEFAULT)?);
    let x = Numbers::new(Float32, &[2, 4, 6], 0.0);
    for which in [true, false] {
        let inputs = || -> ort::Result<Vec<(&str, DynValue)>> {
            let which = Tensor::from_array((Vec::<i64>::new(), vec![which]))?;
            Ok(vec![("x", x.to_value()?), ("which", which.into_dyn())])
        };
        let (theirs, ours) = (all(&theirs.run(inputs()?)?)?, all(&ours.run(inputs()?)?)?);
        assert_alike(&format!("branch {which}"), &ours[0], &theirs[0]);
    }
    Ok(())
}

/// What the converter leaves, ONNX Runtime does fold: no node of batch normalisation is in its optimised graph.
fn foldable_nodes_are_left() -> Outcome {
    let model = model("conv_bn_relu")?;
    let left = batchnorm_ort::Converter::new().leave_foldable().convert(&model)?;
    assert_eq!((left.nodes().len(), left.left().len()), (0, 3));
    assert_eq!(left.model(), model);
    let dense = batchnorm_ort::Converter::new().leave_foldable().convert(&self::model("dense")?)?;
    assert_eq!((dense.nodes().len(), dense.left().len()), (4, 0));

    let file = std::env::temp_dir().join(format!("batchnorm-ort-{}.onnx", std::process::id()));
    for (model, folds) in [(&model, true), (&self::model("dense")?, false)] {
        let mut builder = Session::builder(environment())?
            .with_optimization_level(GraphOptimizationLevel::Level1)?
            .with_optimized_model_path(&file)?;
        builder.commit_from_memory(model)?;
        let optimised = std::fs::read(&file)?;
        std::fs::remove_file(&file)?;
        let name = b"BatchNormalization";
        assert_eq!(optimised.windows(name.len()).any(|part| part == name), !folds);
    }
    Ok(())
}

fn threads_and_pieces_change_no_bit() -> Outcome {
    for (channels, shape) in [(64, &[1, 64, 90, 90][..]), (64, &[12, 64, 30, 30]), (5, &[90_001, 5])] {
        let model = read(&format!("layers/eval_{channels}.onnx"))?;
        let x = Numbers::new(Float32, shape, 3.0);
        let of = |threads| outputs(&mut converted(&model, 1, Run { threads, ..DEFAULT })?, &[("x", &x)]);
        let (one, three) = (of(1)?, of(3)?);
        assert!(one == three, "{shape:?}");
        // Single samples are not cut, or cut elsewhere.
        let sample: usize = shape[1..].iter().product::<i64>() as usize;
        let alone = Numbers { shape: [&[1], &shape[1..]].concat(), values: x.values[..sample].to_vec(), ..x.clone() };
        let y = outputs(&mut converted(&model, 1, DEFAULT)?, &[("x", &alone)])?;
        assert!(y[0].values == one[0].values[..sample], "{shape:?}");
    }
    Ok(())
}

/// The output is a linear function of the input in each channel. ONNX Runtime's own loses digits where the mean is large.
fn a_large_mean_costs_nothing() -> Outcome {
    let model = read("layers/train_32.onnx")?;
    let x = Numbers::new(Float32, &[16, 32, 11, 11], 1e5);
    let errors = [session(&model, DEFAULT)?, converted(&model, 1, DEFAULT)?].map(|mut session| {
        let y = outputs(&mut session, &[("x", &x)])?.swap_remove(0);
        Ok::<_, Box<dyn std::error::Error>>(
            (0..32).map(|channel| distance_from_a_line(&x, &y, channel, 121)).fold(0.0, f64::max),
        )
    });
    let [theirs, ours] = errors;
    let (theirs, ours) = (theirs?, ours?);
    assert!(ours < 1e-6, "{ours}");
    assert!(theirs > 100.0 * ours, "{theirs} and {ours}");
    Ok(())
}

/// Returns how far y is from any linear function of x in a channel.
fn distance_from_a_line(x: &Numbers, y: &Numbers, channel: usize, inner: usize) -> f64 {
    let pairs = x.values.iter().zip(&y.values).enumerate();
    let pairs: Vec<_> = pairs.filter(|(at, _)| at / inner % 32 == channel).map(|(_, (x, y))| (*x, *y)).collect();
    let count = pairs.len() as f64;
    let (mean_x, mean_y) =
        (pairs.iter().map(|p| p.0).sum::<f64>() / count, pairs.iter().map(|p| p.1).sum::<f64>() / count);
    let slope = pairs.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum::<f64>()
        / pairs.iter().map(|p| (p.0 - mean_x).powi(2)).sum::<f64>();
    pairs.iter().map(|p| (p.1 - mean_y - slope * (p.0 - mean_x)).abs()).fold(0.0, f64::max)
}
