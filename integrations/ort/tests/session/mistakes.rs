//! Models and inputs that are wrong: each has an error that says so, and the program goes on.

use libtest_mimic::Trial;
use ort::value::TensorElementType::{Float32, Int32};
use ort::value::{DynValue, Tensor, TensorElementType};

use crate::data::{DEFAULT, Numbers, outputs, read, session};
use crate::{Outcome, test};

/// The model, whether it is refused as the session is made (or as it runs), and a part of the message.
const MISTAKES: [(&str, bool, &str); 25] = [
    ("int_x", true, "Type 'tensor(int32)' of input parameter (x)"),
    ("string_x", true, "Type 'tensor(string)' of input parameter (x)"),
    ("sequence_x", true, "Type 'seq(tensor(float))' of input parameter (s)"),
    ("int_parameters", true, "Type 'tensor(int64)' of input parameter (scale)"),
    ("mixed_parameters", true, "B"),
    ("no_x", true, "input 0 is marked single but has an empty string"),
    ("no_y", true, "output 0 is marked single but has an empty string"),
    ("four_inputs", true, "has input size 4 not in range [min=5, max=5]"),
    ("five_outputs", true, "has output size 5 not in range [min=1, max=3]"),
    ("other_operator", true, "ai.batchnorm:InstanceNormalization"),
    ("negative_epsilon", true, "eps must be finite and at least 0, but is -1"),
    ("nan_epsilon", true, "eps must be finite and at least 0, but is NaN"),
    ("infinite_epsilon", true, "eps must be finite and at least 0, but is inf"),
    ("string_epsilon", true, "the attribute epsilon must be a float, but is of another type"),
    ("int_epsilon", true, "the attribute epsilon must be a float, but is of another type"),
    ("nan_momentum", true, "momentum must be finite, but is NaN"),
    ("float_training", true, "the attribute training_mode must be an integer, but is of another type"),
    ("other_activation", true, "the attribute activation must be Relu or empty, but is \"Tanh\""),
    ("int_activation", true, "the attribute activation must be a string, but is of another type"),
    ("eval_with_running", false, "running_mean and running_var need training_mode 1, but it is 0 and output 1 is used"),
    ("four_channels", false, "scale must be [3], one value per channel of X, but its shape is [4]"),
    ("scalar_parameters", false, "scale must be [3], one value per channel of X, but its shape is []"),
    ("matrix_bias", false, "B must be [3], one value per channel of X, but its shape is [1, 3]"),
    ("negative_variance", false, "running_var must be at least 0"),
    ("good", false, ""),
];

pub(crate) fn tests() -> Vec<Trial> {
    let wrong = MISTAKES.iter().map(|&(name, as_made, message)| {
        test(format!("mistakes::{name}"), move || {
            if message.is_empty() { wrong_inputs_of_a_good_model() } else { is_refused(name, as_made, message) }
        })
    });
    wrong.collect()
}

fn is_refused(name: &str, as_made: bool, message: &str) -> Outcome {
    let made = session(&read(&format!("mistakes/{name}.onnx"))?, DEFAULT);
    let error = match made {
        Err(error) if as_made => error.to_string(),
        Err(error) => return Err(format!("the session should be made: {error}").into()),
        Ok(_) if as_made => return Err("the session should not be made".into()),
        Ok(mut session) => {
            let x = Numbers::new(Float32, &[2, 3, 4], 0.0);
            // Again and again: a failed call leaves nothing behind.
            let calls = [(); 3].map(|()| outputs(&mut session, &[("x", &x)]).map_err(|error| error.to_string()));
            assert!(calls[0] == calls[1] && calls[1] == calls[2]);
            calls[0].clone().err().ok_or("the call should fail")?
        }
    };
    assert!(error.contains(message), "{error}");
    Ok(())
}

fn wrong_inputs_of_a_good_model() -> Outcome {
    let mut session = session(&read("mistakes/good.onnx")?, DEFAULT)?;
    let good = Numbers::new(Float32, &[2, 3, 4], 0.0);
    let expected = outputs(&mut session, &[("x", &good)])?;
    for (element, shape, message) in [
        (Float32, &[2, 4, 4][..], "scale must be [4], one value per channel of X, but its shape is [3]"),
        (Float32, &[5], "scale must be [1], one value per channel of X, but its shape is [3]"),
        (Float32, &[], "X must be [N, C, ...] or [N], but is a scalar: its shape is []"),
        (Float32, &[3, 0, 4], "scale must be [0], one value per channel of X, but its shape is [3]"),
        (TensorElementType::Float64, &[2, 3, 4], "Unexpected input data type"),
    ] {
        let x = Numbers::new(element, shape, 0.0);
        let error = outputs(&mut session, &[("x", &x)]).err().ok_or("the call should fail")?.to_string();
        assert!(error.contains(message), "{shape:?}: {error}");
        assert!(outputs(&mut session, &[("x", &good)])? == expected, "the session goes on");
    }
    let whole: DynValue = Tensor::from_array(([2, 3, 4], vec![1i32; 24]))?.into_dyn();
    assert_eq!(whole.dtype().tensor_type(), Some(Int32));
    assert!(session.run(vec![("x", whole)]).is_err());
    for shape in [&[0, 3, 4][..], &[2, 3, 0]] {
        let empty = Numbers::new(Float32, shape, 0.0);
        assert_eq!(outputs(&mut session, &[("x", &empty)])?, [empty]);
    }
    Ok(())
}
