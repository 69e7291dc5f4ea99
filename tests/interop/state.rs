//! State in safetensors files: one that PyTorch wrote (`state.py`), round trips, and files that must be refused.

use batchnorm::safetensors::{Error, StateDict, Values, write};
use batchnorm::{BatchMut, BatchNorm, Layout};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

/// The layers of a small model. Module 4 has no weight and bias, and running statistics in f16 and bf16; 7 has no running
/// statistics; 9 is f64; 0, 3, 6 and 8 are other layers.
const PYTORCH: &[u8] = include_bytes!("state.safetensors");

/// The values of a tensor, as the file's own library reads them.
fn values(key: &str) -> Vec<f64> {
    let file = SafeTensors::deserialize(PYTORCH).expect("a file");
    let tensor = file.tensor(key).expect(key);
    let bytes = |size: usize| tensor.data().chunks_exact(size);
    match tensor.dtype() {
        Dtype::F16 => bytes(2).map(|x| half::f16::from_bits(u16::from_le_bytes([x[0], x[1]])).to_f64()).collect(),
        // The upper half of an f32.
        Dtype::BF16 => bytes(2).map(|x| f32::from_le_bytes([0, 0, x[0], x[1]]).into()).collect(),
        Dtype::F32 => bytes(4).map(|x| f32::from_le_bytes(x.try_into().expect("4")).into()).collect(),
        Dtype::F64 => bytes(8).map(|x| f64::from_le_bytes(x.try_into().expect("8"))).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn pytorch_files_are_read() {
    let state = StateDict::parse(PYTORCH).expect("a file");
    assert_eq!(state.layers(), ["1", "4", "9"]);
    for prefix in ["1", "4", "9", "7", "1."] {
        let layer = state.layer(prefix).expect(prefix);
        let key = |name: &str| format!("{}.{name}", prefix.trim_end_matches('.'));
        if prefix == "4" {
            assert_eq!((layer.weight(), layer.bias()), (None, None));
        } else {
            assert_eq!(layer.weight().expect("a weight"), values(&key("weight")));
            assert_eq!(layer.bias().expect("a bias"), values(&key("bias")));
        }
        assert_eq!(layer.tracks_running_stats(), prefix != "7");
        if prefix != "7" {
            assert_eq!(layer.running_mean(), values(&key("running_mean")));
            assert_eq!(layer.running_var(), values(&key("running_var")));
            assert_eq!(layer.num_batches_tracked(), 3);
        }
    }
    // As PyTorch printed it.
    assert_eq!(state.layer("1").expect("a layer").running_mean()[0], 0.16796875);
    assert_eq!(
        state.layer("4").expect("a layer").running_var(),
        [0.73828125, 0.734375, 0.734375, 0.73828125, 0.73828125]
    );
}

#[test]
fn other_layers_are_refused() {
    let state = StateDict::parse(PYTORCH).expect("a file");
    let message = |prefix: &str| state.layer(prefix).expect_err(prefix).to_string();
    assert_eq!(message("0"), "`0.weight` has shape [3, 1, 3, 3], but must have one dimension");
    assert_eq!(message("2"), "`2.running_mean` is missing");
    assert_eq!(message(""), "`running_mean` is missing");
    let load = |prefix: &str, mut bn: BatchNorm| {
        let before = bn.clone();
        let error = state.load_into(prefix, &mut bn).expect_err(prefix).to_string();
        assert_eq!(format!("{bn:?}"), format!("{before:?}"));
        error
    };
    assert_eq!(load("1", BatchNorm::new(4)), "`1.weight` has shape [3], but the layer needs [4]");
    assert_eq!(load("1", BatchNorm::new(3).without_bias()), "`1.bias` is not a tensor of this layer");
    assert_eq!(
        load("1", BatchNorm::new(3).without_running_stats()),
        "`1.num_batches_tracked` is not a tensor of this layer"
    );
    assert_eq!(load("4", BatchNorm::new(5)), "`4.weight` is missing");
}

/// A layer whose numbers f32 does not have.
fn trained() -> BatchNorm {
    let mut bn = BatchNorm::new(3);
    bn.set_weight(&[0.1, -2.0, 1e-3]).expect("a weight");
    bn.set_bias(&[1.0 / 3.0, f64::NAN, f64::NEG_INFINITY]).expect("a bias");
    let mut x: Vec<f32> = (0..48).map(|i| (i as f32).sin()).collect();
    bn.forward_train_in_place(BatchMut::new(&mut x, Layout::nchw(4, 3, 2, 2)).expect("x")).expect("trains");
    bn
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn round_trips() {
    let (a, b) = (trained(), BatchNorm::new(2).without_affine());
    for (values, rounded) in [(Values::F64, false), (Values::F32, true)] {
        let file = write([("a.bn", &a), ("b", &b)], values).expect("a file");
        let state = StateDict::parse(&file).expect("a file");
        assert_eq!(state.layers(), ["a.bn", "b"]);
        let back = state.layer("a.bn").expect("a layer");
        let expected =
            |list: &[f64]| list.iter().map(|&x| if rounded { f64::from(x as f32) } else { x }).collect::<Vec<_>>();
        assert_eq!(bits(back.weight().expect("a weight")), bits(&expected(a.weight().expect("a weight"))));
        assert_eq!(bits(back.bias().expect("a bias")), bits(&expected(a.bias().expect("a bias"))));
        assert_eq!(bits(back.running_mean()), bits(&expected(a.running_mean())));
        assert_eq!(bits(back.running_var()), bits(&expected(a.running_var())));
        assert_eq!(back.num_batches_tracked(), 1);
        assert_eq!(state.layer("b").expect("a layer").weight(), None);
    }
    let error = write([("a", &a), ("a.", &b)], Values::F32).expect_err("one name twice");
    assert_eq!(error.to_string(), "two layers have a tensor `a.running_mean`");
    // A single layer without a prefix, and one without any tensors.
    let file = write([("", &a)], Values::F32).expect("a file");
    assert_eq!(StateDict::parse(&file).expect("a file").layers(), [""]);
    let file = write([("", &b.without_running_stats())], Values::F32).expect("a file");
    assert!(matches!(StateDict::parse(&file).expect("a file").layer(""), Err(Error::Missing { .. })));
}

/// A file of one layer of two features, some of whose tensors are replaced.
fn file(replaced: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let one = [1.0f32, 1.0].map(f32::to_le_bytes).concat();
    let mut tensors: Vec<(&str, TensorView<'_>)> = ["weight", "bias", "running_mean", "running_var"]
        .map(|name| (name, TensorView::new(Dtype::F32, vec![2], &one).expect("a tensor")))
        .into();
    for &(name, dtype, shape, data) in replaced {
        tensors.retain(|(other, _)| *other != name);
        tensors.push((name, TensorView::new(dtype, shape.to_vec(), data).expect("a tensor")));
    }
    serialize(tensors, None).expect("a file")
}

#[test]
fn wrong_tensors_are_named() {
    let message = |replaced: &[(&str, Dtype, &[usize], &[u8])]| {
        StateDict::parse(&file(replaced)).expect("a file").layer("").expect_err("wrong").to_string()
    };
    let negative = [1.0f32, -1.0].map(f32::to_le_bytes).concat();
    let batches = "num_batches_tracked";
    assert_eq!(message(&[("bias", Dtype::I32, &[2], &[0; 8])]), "`bias` is I32, but must be F16, BF16, F32 or F64");
    assert_eq!(message(&[("bias", Dtype::F32, &[1, 2], &[0; 8])]), "`bias` has shape [1, 2], but the layer needs [2]");
    assert_eq!(message(&[("scale", Dtype::F32, &[2], &[0; 8])]), "`scale` is not a tensor of this layer");
    assert_eq!(message(&[(batches, Dtype::F32, &[], &[0; 4])]), "`num_batches_tracked` is F32, but must be I64");
    assert_eq!(message(&[(batches, Dtype::I64, &[], &[255; 8])]), "`num_batches_tracked` is negative");
    assert_eq!(
        message(&[(batches, Dtype::I64, &[2], &[0; 16])]),
        "`num_batches_tracked` has shape [2], but the layer needs [1]"
    );
    assert_eq!(
        message(&[("running_var", Dtype::F32, &[2], &negative)]),
        "layer ``: running_var must be at least 0 where the momentum lies within 0 and 1, but is -1"
    );
    // Old files do not have the number of batches.
    let mut bn = BatchNorm::new(2);
    bn.set_num_batches_tracked(7);
    StateDict::parse(&file(&[])).expect("a file").load_into("", &mut bn).expect("loads");
    assert_eq!((bn.num_batches_tracked(), bn.running_mean()), (7, &[1.0, 1.0][..]));
}

#[test]
fn hostile_files_are_refused() {
    let header =
        |json: &str, data: usize| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat();
    let tensor = |shape: &str, offsets: &str| {
        format!(r#"{{"running_mean":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    for (name, bytes) in [
        ("empty", vec![]),
        ("a header longer than the file", u64::MAX.to_le_bytes().to_vec()),
        ("no JSON", header("{", 0)),
        ("a billion features in eight bytes", header(&tensor("[1000000000]", "[0,8]"), 8)),
        ("offsets past the end", header(&tensor("[1000000000]", "[0,4000000000]"), 8)),
        ("offsets that go back", header(&tensor("[2]", "[8,0]"), 8)),
        ("a shape that overflows", header(&tensor("[18446744073709551615,4]", "[0,8]"), 8)),
        ("a hole", header(&tensor("[1]", "[4,8]"), 8)),
        (
            "overlapping tensors",
            header(
                r#"{"running_mean":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"running_var":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
            ),
        ),
        ("cut short", PYTORCH[..PYTORCH.len() - 1].to_vec()),
    ] {
        let error = StateDict::parse(&bytes).expect_err(name);
        assert!(matches!(error, Error::File { .. }), "{name}: {error}");
    }
    // One address of two is odd: values are read from any.
    let bytes = [&[0u8][..], PYTORCH].concat();
    assert_eq!(StateDict::parse(&bytes[1..]).expect("a file").layer("9").expect("a layer").num_features(), 2);
}

/// A layer that has lost one of its tensors is found, so that a loop over all layers does not pass it by.
#[test]
fn incomplete_layers_are_listed() {
    let data = 1f32.to_le_bytes();
    for (name, missing) in [("a.running_mean", "a.running_var"), ("a.running_var", "a.running_mean")] {
        let tensor = TensorView::new(Dtype::F32, vec![1], &data).expect("a tensor");
        let file = serialize([(name, tensor)], None).expect("a file");
        let state = StateDict::parse(&file).expect("a file");
        assert_eq!(state.layers(), ["a"]);
        let error = state.layer("a").expect_err("incomplete").to_string();
        assert!(error.contains(missing), "{error}");
    }
}
