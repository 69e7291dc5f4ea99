//! README's snippets of the optional features, compiled and run. (Snippets of the default features are doctests.)

const README: &str = include_str!("../../README.md");

mod safetensors_snippet {
    include!("readme_state.rs");

    pub(super) fn run() -> Result<(), Box<dyn std::error::Error>> {
        main()
    }
}

mod ndarray_snippet {
    include!("readme_ndarray.rs");

    pub(super) fn run() -> batchnorm::Result<()> {
        main()
    }
}

#[test]
fn the_snippet_of_safetensors_runs() {
    assert!(README.contains(include_str!("readme_state.rs")), "README has other code");
    let folder = std::env::temp_dir().join(format!("batchnorm-readme-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model.safetensors"), include_bytes!("state.safetensors")).expect("a file");
    std::env::set_current_dir(&folder).expect("a folder");
    let ran = safetensors_snippet::run();
    std::fs::remove_dir_all(&folder).expect("a folder");
    ran.expect("the snippet runs");
}

#[test]
fn the_snippet_of_ndarray_runs() {
    assert!(README.contains(include_str!("readme_ndarray.rs")), "README has other code");
    ndarray_snippet::run().expect("the snippet runs");
}
