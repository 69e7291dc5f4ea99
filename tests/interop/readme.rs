//! README's snippet of the feature `safetensors`, compiled and run. (Snippets of the default features are doctests.)

include!("readme_state.rs");

#[test]
fn the_snippet_of_the_readme_runs() {
    assert!(include_str!("../../README.md").contains(include_str!("readme_state.rs")), "README has other code");
    let folder = std::env::temp_dir().join(format!("batchnorm-readme-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model.safetensors"), include_bytes!("state.safetensors")).expect("a file");
    std::env::set_current_dir(&folder).expect("a folder");
    let ran = main();
    std::fs::remove_dir_all(&folder).expect("a folder");
    ran.expect("the snippet runs");
}
