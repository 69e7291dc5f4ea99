//! What a picture must say about where it was measured: read where the system tells it, left out where it does not.

use std::path::Path;
use std::process::Command;

/// The processor's name, of Linux on x86.
pub(crate) fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string()).filter(|name| !name.is_empty())
}

/// Data caches of the first processor, by name (`L2`) and bytes, of Linux.
pub(crate) fn caches() -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache") else {
        return Vec::new();
    };
    let mut caches: Vec<_> = entries.flatten().filter_map(|entry| cache(&entry.path())).collect();
    caches.sort();
    caches
}

fn cache(index: &Path) -> Option<(String, u64)> {
    let read = |name: &str| std::fs::read_to_string(index.join(name)).ok().map(|text| text.trim().to_string());
    let kibibytes: u64 = read("size")?.strip_suffix('K')?.parse().ok()?;
    let data = read("type")? != "Instruction" && kibibytes > 0;
    data.then_some((format!("L{}", read("level")?), kibibytes << 10))
}

/// The commit of the sources, with a `+` if they have changed since.
pub(crate) fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(commit + if clean { "" } else { "+" })
}
