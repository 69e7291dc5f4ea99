use batchnorm::safetensors::StateDict;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::fs::read("model.safetensors")?; // in PyTorch: save_file(model.state_dict(), "model.safetensors")
    let state = StateDict::parse(&file)?;
    for prefix in state.layers() {
        let bn = state.layer(&prefix)?.with_eps(1e-5)?; // eps is not in the file
        println!("{prefix}: {} features", bn.to_inference().num_features());
    }
    Ok(())
}
