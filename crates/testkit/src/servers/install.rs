//! Where `make test-servers` puts what tests start.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// `${LANEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/laneway}`.
pub fn cache_folder() -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("LANEWAY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("laneway")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/laneway")))
        .context("finding the cache folder: set LANEWAY_CACHE, XDG_CACHE_HOME or HOME")
}

/// The folder `name` of the cache, such as `kafka-4.3.1`.
pub fn installed(name: &str) -> Result<PathBuf> {
    let folder = cache_folder()?.join(name);
    if !folder.is_dir() {
        bail!(
            "{name} is not installed in {}: run `make test-servers`",
            folder.display()
        );
    }
    Ok(folder)
}

/// The Java that `make test-servers` checked.
pub fn java() -> PathBuf {
    std::env::var_os("JAVA_HOME")
        .filter(|home| !home.is_empty())
        .map_or_else(
            || PathBuf::from("java"),
            |home| Path::new(&home).join("bin/java"),
        )
}

/// A new folder below the system's temporary one, gone at the latest when this process ends.
pub fn temporary_folder(server: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(&format!("laneway-{server}-"))
        .tempdir()
        .with_context(|| format!("creating a temporary folder for {server}"))?;
    crate::watchdog::remove_at_end(folder.path())?;
    Ok(folder)
}
