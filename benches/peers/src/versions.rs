//! The versions that are compared, from the manifests.

/// The manifest that pins the versions of the peers.
const MANIFEST: &str = include_str!("../Cargo.toml");
const OWN_MANIFEST: &str = include_str!("../../../Cargo.toml");

/// Returns this crate and the peers with their versions.
pub fn versions(peers: &[&str]) -> String {
    let own = version(OWN_MANIFEST, "version").into_iter().map(|version| format!("batchnorm {version}"));
    let peers = peers.iter().filter_map(|name| version(MANIFEST, name).map(|version| format!("{name} {version}")));
    own.chain(peers).collect::<Vec<_>>().join(", ")
}

/// Returns the version in the manifest's line of `key`: the pinned version of a dependency, or the package's own.
fn version<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    // A feature may have the same name; its line has no version.
    manifest.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix(" = ")?;
        value
            .split('"')
            .map(|part| part.trim_start_matches('='))
            .find(|part| part.starts_with(|c: char| c.is_ascii_digit()))
    })
}
