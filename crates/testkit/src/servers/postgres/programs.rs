//! Where PostgreSQL's programs are, and as whom they run.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// PostgreSQL refuses to run as root: then it runs as the user that its package makes.
const USER: &str = "postgres";

#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
    /// Set where this process is root.
    run_as: Option<(u32, u32)>,
}

impl Programs {
    /// The newest below `/usr/lib/postgresql`, else those on PATH. A wrapper on PATH that has no
    /// server behind it is passed over.
    pub fn find() -> Result<Self> {
        let mut debian: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                Some((
                    entry.file_name().to_str()?.parse().ok()?,
                    entry.path().join("bin"),
                ))
            })
            .collect();
        debian.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folder = debian
            .into_iter()
            .map(|(_, folder)| folder)
            .chain(std::env::split_paths(&path))
            .find(|folder| {
                ["initdb", "postgres"]
                    .iter()
                    .all(|program| works(&folder.join(program)))
            })
            .context(
                "no PostgreSQL server is installed (initdb, postgres): run `make test-servers`",
            )?;
        let run_as = rustix::process::geteuid()
            .is_root()
            .then(|| user_id(USER))
            .transpose()?;
        Ok(Self { folder, run_as })
    }

    /// The program `name`, to be run in `folder` as a user that PostgreSQL accepts.
    pub fn command(&self, name: &str, folder: &Path) -> Command {
        let program = self.folder.join(name);
        let mut command = match self.run_as {
            None => Command::new(program),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .arg("--clear-groups")
                    .arg(program);
                command
            }
        };
        command.current_dir(folder).env("LC_ALL", "C");
        command
    }

    /// Makes `path` belong to the user that the programs run as.
    pub fn give(&self, path: &Path) -> Result<()> {
        match self.run_as {
            None => Ok(()),
            Some((user, group)) => chown(path, Some(user), Some(group))
                .with_context(|| format!("giving {} to the user {USER}", path.display())),
        }
    }
}

fn works(program: &Path) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    program.is_file() && command.status().is_ok_and(|status| status.success())
}

/// User and group number of `name` in `/etc/passwd`.
fn user_id(name: &str) -> Result<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    users
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .find_map(|rest| {
            let mut fields = rest.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .with_context(|| format!("PostgreSQL does not run as root and there is no user {name}: create one, or run the tests as another user"))
}
