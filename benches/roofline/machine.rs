//! What a chart must say about the machine. It is read from the system, and left out if the system does not provide it.

use std::path::Path;
use std::process::Command;

/// Returns the processor's name (on Linux, on x86).
pub(crate) fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string()).filter(|name| !name.is_empty())
}

/// Returns the data caches of the first processor: name (`L2`) and size in bytes (on Linux).
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

/// Returns the commit of the sources, with a `+` if they have changed since.
pub(crate) fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(commit + if clean { "" } else { "+" })
}
