use batchnorm::safetensors::StateDict;
use batchnorm::{BatchMut, Layout};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::fs::read("model.safetensors")?; // in PyTorch: save_file(model.state_dict(), "model.safetensors")
    let state = StateDict::parse(&file)?;
    for prefix in state.layers() {
        let norm = state.layer(&prefix)?.with_eps(1e-5)?.try_to_inference()?; // eps is not in the file
        let channels = norm.num_features();
        let mut activations = vec![0.5f32; channels * 8 * 8]; // of the layer before
        norm.forward_in_place(BatchMut::new(&mut activations, Layout::nchw(1, channels, 8, 8))?)?;
        println!("{prefix}: {channels} channels, {:?}", &activations[..3]);
    }
    Ok(())
}
