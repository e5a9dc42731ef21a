//! Where cargo put the `laneway` binary.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The `laneway` binary of the same build as the running test, bench or driver, or the one that
/// `LANEWAY_BINARY` names.
pub fn laneway_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LANEWAY_BINARY").map(PathBuf::from) {
        if path.is_file() {
            return Ok(path);
        }
        bail!(
            "LANEWAY_BINARY names {}, which is not a file",
            path.display()
        );
    }
    let running = std::env::current_exe().context("finding the running executable")?;
    beside(&running)
}

/// Tests and benches are at `target/PROFILE/deps/NAME-HASH`, other programs at
/// `target/PROFILE/NAME`, and the binary at `target/PROFILE/laneway`.
fn beside(running: &Path) -> Result<PathBuf> {
    for folder in running.ancestors().skip(1).take(2) {
        let binary = folder.join("laneway");
        if binary.is_file() {
            return Ok(binary);
        }
    }
    bail!(
        "no `laneway` binary beside {}: run `cargo build -p laneway` (with the same profile) first",
        running.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_from_a_test_and_from_a_program_and_missing_says_what_to_run() {
        let target = tempfile::tempdir().unwrap();
        let deps = target.path().join("deps");
        std::fs::create_dir(&deps).unwrap();
        let test = deps.join("end_to_end-0123456789abcdef");
        let error = beside(&test).unwrap_err();
        assert!(
            error.to_string().contains("cargo build -p laneway"),
            "{error}"
        );

        let binary = target.path().join("laneway");
        std::fs::write(&binary, "").unwrap();
        assert_eq!(beside(&test).unwrap(), binary);
        assert_eq!(beside(&target.path().join("demo")).unwrap(), binary);
    }
}
