//! ONNX's own node tests of batch normalisation, through the operator.

use libtest_mimic::Trial;

use crate::data::{DEFAULT, Numbers, converted, folder, outputs, read};
use crate::{Outcome, test};

/// One test per folder. Those of this version of ONNX are named, so that they are listed where there are no folders.
pub(crate) fn tests() -> Vec<Trial> {
    let mut names: Vec<String> = match std::fs::read_dir(folder().join("node")) {
        Ok(entries) => entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
        Err(_) => Vec::new(),
    };
    for (kind, mode) in [("example", ""), ("epsilon", ""), ("example", "_training_mode"), ("epsilon", "_training_mode")]
    {
        let name = format!("test_batchnorm_{kind}{mode}");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.sort();
    names.into_iter().map(|name| test(format!("node::{name}"), move || run(&name))).collect()
}

fn run(name: &str) -> Outcome {
    let tensors = |kind: &str| -> Result<Vec<_>, Box<dyn std::error::Error>> {
        let file = |at: usize| format!("node/{name}/test_data_set_0/{kind}_{at}.pb");
        (0..).map(file).take_while(|file| folder().join(file).exists()).map(|file| Numbers::from_file(&file)).collect()
    };
    let (given, expected) = (tensors("input")?, tensors("output")?);
    assert_eq!((given.len(), expected.len()), (5, if name.ends_with("training_mode") { 3 } else { 1 }));
    let mut session = converted(&read(&format!("node/{name}/model.onnx"))?, 1, DEFAULT)?;
    let inputs: Vec<_> = given.iter().map(|(name, numbers)| (name.as_str(), numbers)).collect();
    let names: Vec<String> = session.outputs().iter().map(|output| output.name().to_string()).collect();
    let got = outputs(&mut session, &inputs)?;
    assert_eq!(got.len(), expected.len());
    for ((output, got), (name, expected)) in names.iter().zip(&got).zip(&expected) {
        assert_eq!(output, name);
        // ONNX's own bounds are 1e-3 and 1e-7; its expected outputs are rounded to f32 step by step.
        got.assert_near(name, expected, 1e-5, 2e-6);
    }
    Ok(())
}
