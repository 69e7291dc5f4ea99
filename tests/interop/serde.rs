//! serde: the same bits after a round trip through a format for people (JSON) and a binary one (postcard), and values
//! that must be refused.

use batchnorm::{
    Accumulator, Activation, Batch, BatchMut, BatchNorm, FewValues, GradientSums, Layout, Moments, NonFinite,
    Precision, Welford, moments,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Returns the value after a round trip through each format.
fn round_trips<T: Serialize + DeserializeOwned>(value: &T) -> [T; 2] {
    let json = serde_json::to_string(value).expect("JSON");
    let bytes = postcard::to_allocvec(value).expect("bytes");
    [serde_json::from_str(&json).expect(&json), postcard::from_bytes(&bytes).expect("the same type")]
}

fn batch(rows: usize) -> Vec<f32> {
    (0..3 * rows).map(|i| ((i * 7919) % 1009) as f32 * 0.37 - 150.0).collect()
}

fn train(bn: &mut BatchNorm) -> Vec<u32> {
    let mut y = batch(50);
    bn.forward_train_in_place(BatchMut::new(&mut y, Layout::nc(50, 3)).expect("y")).expect("trains");
    y.iter().map(|y| y.to_bits()).collect()
}

#[test]
fn layers() {
    let mut plain = BatchNorm::new(3);
    train(&mut plain);
    plain.set_bias(&[f64::NAN, f64::INFINITY, -0.0]).expect("a bias");
    let mut unusual = BatchNorm::new(3).with_eps(0.1).expect("an eps").with_momentum(-0.3).expect("a momentum");
    unusual = unusual.without_weight().with_running_ddof(0.5).expect("a ddof").with_precision(Precision::Double);
    unusual = unusual.with_few_values(FewValues::UseRunningStats).with_non_finite(NonFinite::Refuse);
    unusual = unusual.with_activation(Activation::Relu);
    unusual.set_running_var(&[1.0, -2.0, 0.1]).expect("any variance, with this momentum");
    unusual.set_num_values_tracked(u64::MAX);
    let cumulative = BatchNorm::new(3).with_cumulative_average();
    let weighted = BatchNorm::new(3).with_sample_weighted_average();
    let untracked = BatchNorm::new(3).without_affine().without_running_stats();
    for bn in [plain, unusual, cumulative, weighted, untracked, BatchNorm::new(0)] {
        for mut back in round_trips(&bn) {
            let mut bn = bn.clone();
            // `Debug` shows all options, and the written form all values.
            assert_eq!(format!("{back:?}"), format!("{bn:?}"));
            assert_eq!(serde_json::to_string(&back).expect("JSON"), serde_json::to_string(&bn).expect("JSON"));
            if bn.num_features() == 3 {
                assert_eq!(train(&mut back), train(&mut bn));
                assert_eq!(serde_json::to_string(&back).expect("JSON"), serde_json::to_string(&bn).expect("JSON"));
            }
        }
    }
}

#[test]
fn statistics() {
    let data = batch(1000);
    let x = Batch::new(&data, Layout::nc(1000, 3)).expect("x");
    let poisoned = [f32::NAN, 1.0, f32::INFINITY];
    for m in [moments(x), Moments::new(2), moments(Batch::new(&poisoned, Layout::nc(1, 3)).expect("x"))] {
        assert!(round_trips(&m).iter().all(|back| *back == m));
    }
    let sums = BatchNorm::new(3).backward_sums(&moments(x), x, x).expect("sums");
    assert!(round_trips(&sums).iter().all(|back| *back == sums));

    let mut stream = Welford::new(3);
    assert!(round_trips(&stream).iter().all(|back| *back == stream));
    for rows in data.chunks_exact(3 * 100) {
        for back in round_trips(&stream) {
            assert!(back == stream);
            stream = back;
        }
        stream.push_rows(Batch::new(rows, Layout::nc(100, 3)).expect("rows")).expect("pushes");
    }
    let mut whole = Welford::new(3);
    whole.push_rows(x).expect("pushes");
    assert!(stream == whole);
}

#[test]
fn accumulators_go_on_where_they_were() {
    let data: Vec<f64> = (0..5 * 20_000).map(|i| (i as f64).sin() + 1e6).collect();
    let layout = Layout::nc(20_000, 5);
    let mut accumulator = Accumulator::<f64>::new(5, 1).expect("an accumulator");
    for rows in data.chunks(5 * 3001) {
        accumulator.update(Batch::new(rows, Layout::nc(rows.len() / 5, 5)).expect("rows")).expect("updates");
        let [json, binary] = round_trips(&accumulator);
        assert_eq!(json.moments(), binary.moments());
        accumulator = json;
    }
    assert_eq!(accumulator.moments(), moments(Batch::new(&data, layout).expect("x")));
}

fn refused<T: DeserializeOwned>(json: &str) -> String {
    serde_json::from_str::<T>(json).err().expect(json).to_string()
}

#[test]
fn states_that_cannot_be_are_refused() {
    let layer = serde_json::to_string(&BatchNorm::new(2)).expect("JSON");
    for (part, by, message) in [
        (r#""weight":[1.0,1.0]"#, r#""weight":[1.0]"#, "weight needs 2 values, one per feature, but got 1"),
        (r#""var":[1.0,1.0]"#, r#""var":[1.0,-1.0]"#, "running_var must be at least 0"),
        (r#""eps":0.00001"#, r#""eps":-1.0"#, "eps must be"),
        (r#""num_features":2"#, r#""num_features":18446744073709551615"#, "features"),
        (r#""num_features":2"#, r#""features":2"#, "unknown field `features`"),
    ] {
        assert!(layer.contains(part), "{layer}");
        let error = refused::<BatchNorm>(&layer.replace(part, by));
        assert!(error.contains(message), "{error}");
    }
    let error = refused::<Moments>(r#"{"counts":[2],"means":[[1.0],[0.0],[0.0]],"m2s":[[-1.0],[0.0]]}"#);
    assert!(error.contains("m2s must be NaN or at least 0, but is -1"), "{error}");
    let error = refused::<GradientSums>(r#"{"counts":[2],"sum_dy":[[1.0],[1.0]],"sum_dy_xmu":[[1.0],[0.0]]}"#);
    assert!(error.contains("sum_dy_low"), "{error}");
    let error = refused::<Welford>(r#"{"count":3,"features":[[0.0,0.0,0.0,-1.0,0.0]]}"#);
    assert!(error.contains("m2 -1"), "{error}");
    let error = refused::<Welford>(r#"{"count":18446744073709551615,"features":[]}"#);
    assert!(error.contains("at most 9007199254740992 rows"), "{error}");

    let accumulator = r#"{"features":5,"inner":1,"subtrees":[],"pending":[]}"#;
    assert!(serde_json::from_str::<Accumulator<f32>>(accumulator).is_ok());
    let with = |part: &str, by: &str| refused::<Accumulator<f32>>(&accumulator.replace(part, by));
    assert!(with(r#""pending":[]"#, r#""pending":[1.0]"#).contains("1 pending values are no rows of 5 values"));
    assert!(with(r#""inner":1"#, r#""inner":18446744073709551615"#).contains("more values than"));
    let moments =
        r#"{"counts":[1,1,1,1,1],"means":[[0,0,0,0,0],[0,0,0,0,0],[0,0,0,0,0]],"m2s":[[0,0,0,0,0],[0,0,0,0,0]]}"#;
    let error = with(r#""subtrees":[]"#, &format!(r#""subtrees":[[1,{moments}]]"#));
    assert!(error.contains("a subtree of 1 chunks has 5 features of Some(1) values"), "{error}");
}
