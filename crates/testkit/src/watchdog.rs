//! Ends the processes that tests started when the test process itself ends, however it does.
//!
//! Destructors do not run for statics, nor when a test process is killed. So a small shell reads
//! a pipe that only the test process holds open: when the pipe closes it kills every process
//! group that is still registered and removes their folders.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow};

// `folders` are kept as positional parameters, so that a path may hold spaces.
const SCRIPT: &str = r#"
groups=
while read -r what value; do
    case $what in
    watch) groups="$groups $value" ;;
    forget)
        rest=
        for group in $groups; do [ "$group" = "$value" ] || rest="$rest $group"; done
        groups=$rest
        ;;
    folder) set -- "$@" "$value" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
# What was killed may still be closing files.
for try in 1 2 3 4 5 6 7 8 9 10; do
    [ $# -eq 0 ] || rm -rf -- "$@" && break
    sleep 0.1
done
"#;

static WATCHDOG: OnceLock<Mutex<Option<Child>>> = OnceLock::new();

/// From now on the process group `group` is killed when this process ends.
pub fn watch(group: u32) -> Result<()> {
    tell(&format!("watch {group}\n"))
}

/// The process group `group` is gone; its number may be used again by somebody else.
pub fn forget(group: u32) {
    // A watchdog that died took the group with it or never knew it: nothing to undo.
    let _gone = tell(&format!("forget {group}\n"));
}

/// `folder`, a temporary one made by this process, is removed when this process ends.
pub fn remove_at_end(folder: &Path) -> Result<()> {
    tell(&format!("folder {}\n", folder.display()))
}

fn tell(line: &str) -> Result<()> {
    let mut slot = WATCHDOG
        .get_or_init(|| Mutex::new(None))
        .lock()
        .map_err(|_| anyhow!("the watchdog's lock is poisoned by an earlier panic"))?;
    if slot.is_none() {
        *slot = Some(start()?);
    }
    slot.as_mut()
        .and_then(|child| child.stdin.as_mut())
        .context("the watchdog has no pipe")?
        .write_all(line.as_bytes())
        .context("writing to the watchdog that ends test servers: did somebody kill its shell?")
}

fn start() -> Result<Child> {
    // Its own group, so that an interrupt from the terminal ends the tests but not their watchdog.
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "test-watchdog"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting /bin/sh as the watchdog that ends test servers")
}
