//! Processes that tests start: stopped, paused, killed, and never left behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use laneway_testkit::{LanewayProcess, Webhook, cpu, wait};

const BOUND: Duration = Duration::from_secs(20);
/// Set for the copy of this test program that is killed in the course of a test.
const LEAVE_BEHIND: &str = "TESTKIT_LEAVE_BEHIND";

fn shell(script: &str, folder: &Path) -> Result<LanewayProcess> {
    LanewayProcess::builder("/bin/sh".into())
        .args(["-c", script])
        .dir(folder)
        .spawn()
}

fn exists(pid: u32) -> bool {
    // A process that has ended but was not waited for is listed as a zombie.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}

#[tokio::test]
async fn stop_asks_politely_and_returns_the_exit_code() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = shell(
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done",
        folder.path(),
    )?;
    let log = process.log_path().to_owned();
    let trapped = || async { std::fs::read_to_string(&log).is_ok_and(|log| log.contains("ready")) };
    process
        .wait_until("the trap to be set", BOUND, trapped)
        .await?;
    assert_eq!(process.stop().await?.code(), Some(3));
    Ok(())
}

#[tokio::test]
async fn a_paused_process_uses_no_processor_until_it_is_resumed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = shell("while :; do :; done", folder.path())?;
    let pid = process.pid();
    let used = || cpu::usage(pid).map(|usage| usage.cpu_seconds);
    let busier_than = |floor: f64| async move { used().is_ok_and(|used| used > floor) };
    process
        .wait_until("it to be busy", BOUND, || busier_than(0.02))
        .await?;
    process.pause()?;
    let stopped = || async {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
    };
    process
        .wait_until("it to be stopped", BOUND, stopped)
        .await?;
    let at_pause = used()?;
    let still_busy = wait::until("it to go on", Duration::from_millis(200), || {
        busier_than(at_pause)
    });
    assert!(still_busy.await.is_err(), "a paused process went on");
    process.resume()?;
    process
        .wait_until("it to be busy again", BOUND, || {
            busier_than(at_pause + 0.02)
        })
        .await
}

#[tokio::test]
async fn kill_takes_the_whole_group() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = shell("tail -f /dev/null & tail -f /dev/null", folder.path())?;
    let pid = process.pid();
    let children = || async { Some(cpu::descendants(pid)).filter(|children| children.len() == 2) };
    let children = wait::eventually("two children", BOUND, children).await?;
    process.kill()?;
    let gone = || async { !children.iter().any(|child| exists(*child)) };
    wait::until("the children to be gone", BOUND, gone).await
}

#[tokio::test]
async fn a_failed_wait_shows_the_log_and_comes_at_once_when_the_process_has_ended() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = shell("echo no such port; exit 1", folder.path())?;
    let waited = process.wait_http("http://127.0.0.1:1/health", 200, Duration::from_secs(600));
    let error = tokio::time::timeout(BOUND, waited).await?.unwrap_err();
    assert!(format!("{error:#}").contains("no such port"), "{error:#}");
    Ok(())
}

#[tokio::test]
async fn wait_http_waits_for_the_status() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = Webhook::accepting().await?;
    let mut process = shell("tail -f /dev/null", folder.path())?;
    process
        .wait_http(&receiver.url("/health"), 200, BOUND)
        .await?;
    let wrong = process
        .wait_http(&receiver.url("/health"), 404, Duration::from_millis(60))
        .await;
    assert!(wrong.is_err());
    Ok(())
}

#[tokio::test]
async fn settings_of_the_developer_do_not_leak_into_the_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let env = Path::new("/usr/bin/env");
    let mut process = LanewayProcess::builder(env.into())
        .env("LANEWAY_GIVEN", "yes")
        .dir(folder.path())
        .spawn()?;
    process.wait(BOUND).await?;
    let log = process.log()?;
    let ours: Vec<&str> = log
        .lines()
        .filter(|line| line.starts_with("LANEWAY_"))
        .collect();
    assert_eq!(ours, ["LANEWAY_GIVEN=yes"]);
    Ok(())
}

/// Plays the test process that is killed in the test below; on its own it does nothing.
#[tokio::test]
async fn left_behind_helper() -> Result<()> {
    let Some(folder) = std::env::var_os(LEAVE_BEHIND) else {
        return Ok(());
    };
    let process = shell("tail -f /dev/null", Path::new(&folder))?;
    std::fs::write(
        Path::new(&folder).join("pid.new"),
        process.pid().to_string(),
    )?;
    std::fs::rename(
        Path::new(&folder).join("pid.new"),
        Path::new(&folder).join("pid"),
    )?;
    std::future::pending().await
}

#[tokio::test]
async fn a_killed_test_process_leaves_no_process_behind() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut tests = Command::new(std::env::current_exe()?)
        .args(["--exact", "left_behind_helper"])
        .env(LEAVE_BEHIND, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting this test program a second time")?;
    let pid = || async {
        std::fs::read_to_string(folder.path().join("pid"))
            .ok()?
            .parse::<u32>()
            .ok()
    };
    let pid = wait::eventually("the other test program to start a process", BOUND, pid).await;
    let existed = pid.as_ref().is_ok_and(|pid| exists(*pid));
    tests.kill()?;
    tests.wait()?;
    let pid = pid?;
    assert!(existed);
    wait::until("the process to be gone", BOUND, || async { !exists(pid) }).await
}
