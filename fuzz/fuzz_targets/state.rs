//! Any bytes are a safetensors file or an error. What can be read from it, written again, reads the same; a call that
//! fails changes nothing, and memory is used only for values that the file has.

#![no_main]

use batchnorm::BatchNorm;
use batchnorm::safetensors::{StateDict, Values, write};
use libfuzzer_sys::fuzz_target;

/// The bits of all that a layer's file holds.
fn bits(bn: &BatchNorm) -> Vec<Option<Vec<u64>>> {
    let bits = |list: &[f64]| list.iter().map(|value| value.to_bits()).collect();
    let statistics = [bn.running_mean(), bn.running_var()].map(|list| Some(bits(list)));
    let mut all = vec![bn.weight().map(bits), bn.bias().map(bits), Some(vec![bn.num_batches_tracked()])];
    all.extend(statistics);
    all
}

fuzz_target!(|file: &[u8]| {
    let Ok(state) = StateDict::parse(file) else { return };
    let mut prefixes = state.layers();
    prefixes.extend(["", "1", "bn."].map(String::from));
    for prefix in &prefixes {
        // It may have other features or tensors than the file.
        let mut other = BatchNorm::new(3);
        let before = bits(&other);
        if state.load_into(prefix, &mut other).is_err() {
            assert_eq!(bits(&other), before, "a call that failed has changed the layer");
        }
        let Ok(layer) = state.layer(prefix) else { continue };
        assert!(layer.num_features() <= file.len());
        let written = write([(prefix, &layer)], Values::F64).expect("one layer");
        let again = StateDict::parse(&written).expect("written just now").layer(prefix);
        match again {
            Ok(again) => assert_eq!(bits(&again), bits(&layer)),
            Err(error) => panic!("{error}"),
        }
        assert!(StateDict::parse(&write([(prefix, &layer)], Values::F32).expect("one layer")).is_ok());
    }
});
