//! A key that a command prints: what asks a key management service, for one.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{Key, parse};

/// What is read of its output, in bytes.
const MOST: u64 = 4096;

/// Runs the command with the shell, and takes the key from the first line that it prints. What it
/// prints is in no message.
pub async fn key_of(command: &str, limit: Duration) -> anyhow::Result<Key> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // What it starts in its turn ends with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("starting store.secret_key_command with sh")?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let ran = tokio::time::timeout(limit, async {
        let mut printed = String::new();
        if let Some(out) = child.stdout.take() {
            let read = out.take(MOST).read_to_string(&mut printed).await;
            read.context("reading what store.secret_key_command prints")?;
        }
        let status = child.wait().await;
        let status = status.context("waiting for store.secret_key_command")?;
        anyhow::Ok((status, printed))
    });
    let Ok(ran) = ran.await else {
        if let Some(group) = group {
            // It may have ended at this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
        bail!(
            "store.secret_key_command did not end within {} ms: mend it, or raise store.secret_key_command_timeout_ms",
            limit.as_millis()
        );
    };
    let (status, printed) = ran?;
    anyhow::ensure!(
        status.success(),
        "store.secret_key_command failed ({status}): run it by hand to see why"
    );
    parse(printed.lines().next().unwrap_or_default().trim()).context(
        "store.secret_key_command did not print a key: its first line has to be 64 hexadecimal digits",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_key_is_what_the_command_prints() {
        let command = format!("echo {}; echo more", "0f".repeat(32));
        assert_eq!(key_of(&command, SOON).await.unwrap(), [0x0f; 32]);
    }

    #[tokio::test]
    async fn a_command_that_fails_or_prints_no_key_is_told_apart_without_its_output() {
        let no_key = key_of("echo hunter2", SOON).await.unwrap_err().to_string();
        assert!(no_key.contains("64 hexadecimal digits"), "{no_key}");
        assert!(!no_key.contains("hunter2"), "{no_key}");
        let failed = format!("echo {}; exit 3", "0f".repeat(32));
        let failed = key_of(&failed, SOON).await.unwrap_err().to_string();
        assert!(failed.contains("exit status: 3"), "{failed}");
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended_with_what_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = format!("sleep 600 & echo $! > {}; wait", file.display());
        let hangs = key_of(&command, Duration::from_millis(500)).await;
        let hangs = hangs.unwrap_err().to_string();
        assert!(hangs.contains("within 500 ms"), "{hangs}");
        let pid = std::fs::read_to_string(file).unwrap();
        let state = format!("/proc/{}/stat", pid.trim());
        for _ in 0..100 {
            // An ended one may wait to be collected.
            let state = std::fs::read_to_string(&state).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{pid} goes on");
    }
}
