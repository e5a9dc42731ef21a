//! PostgreSQL, with a login that row-level security binds.

mod programs;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use self::programs::Programs;
use super::process::ProcessGroup;
use super::{address, install};
use crate::ports;

const START_BOUND: Duration = Duration::from_secs(60);
const SUPERUSER: &str = "postgres";
const OWNER: &str = "laneway";
/// Of both logins. Nothing but loopback reaches the server.
const PASSWORD: &str = "for-tests-only";

/// A server that ends when this is dropped, or one that the environment gave.
///
/// The role `laneway` owns the database `laneway` and may create roles and databases, but is no
/// superuser. Nothing is synced to the disk: kill -9 loses nothing, a power cut would.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    superuser_url: Option<String>,
    server: Option<Server>,
}

#[derive(Debug)]
struct Server {
    programs: Programs,
    port: u16,
    data: PathBuf,
    // Before the folder, so that the server is gone when it is removed.
    process: Mutex<Option<ProcessGroup>>,
    folder: TempDir,
}

impl Postgres {
    /// The one that `LANEWAY_TEST_POSTGRES` names, else a new one.
    pub async fn start() -> Result<Self> {
        match address("LANEWAY_TEST_POSTGRES") {
            Some(url) => Ok(Self {
                url,
                superuser_url: address("LANEWAY_TEST_POSTGRES_SUPERUSER"),
                server: None,
            }),
            None => Self::start_own().await,
        }
    }

    /// A new one even where the environment has an address: for tests that kill it.
    pub async fn start_own() -> Result<Self> {
        let programs = Programs::find()?;
        let folder = install::temporary_folder("postgres")?;
        programs.give(folder.path())?;
        let server = Server {
            programs,
            port: ports::free()?,
            data: folder.path().join("data"),
            process: Mutex::new(None),
            folder,
        };
        server.initialise().await?;
        server.spawn_and_wait().await?;
        let superuser_url = server.url(SUPERUSER, SUPERUSER);
        let create = [
            format!(
                "CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}' NOSUPERUSER CREATEROLE CREATEDB"
            ),
            format!("CREATE DATABASE {OWNER} OWNER {OWNER}"),
        ];
        for sql in create {
            execute(&superuser_url, &sql).await?;
        }
        Ok(Self {
            url: server.url(OWNER, OWNER),
            superuser_url: Some(superuser_url),
            server: Some(server),
        })
    }

    /// One for the whole test process. Tests in it use databases of their own names.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// `postgres://…` of the owner of the database, who is no superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `postgres://…` of a superuser, whom no row-level security binds. An error where the server
    /// is from the environment and `LANEWAY_TEST_POSTGRES_SUPERUSER` is not set.
    pub fn superuser_url(&self) -> Result<&str> {
        self.superuser_url.as_deref().context(
            "no superuser of the test PostgreSQL is known: set LANEWAY_TEST_POSTGRES_SUPERUSER",
        )
    }

    /// Creates the empty database `name`, owned by the same role, and returns its URL. One of the
    /// same name that an earlier run left is dropped first.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        ensure!(
            !name.is_empty() && name.len() < 64 && name.chars().all(plain),
            "a test database's name has 1 to 63 of a-z, 0-9 and _: {name:?}"
        );
        execute(
            &self.url,
            &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"),
        )
        .await?;
        execute(&self.url, &format!("CREATE DATABASE \"{name}\"")).await?;
        with_database(&self.url, name)
    }

    /// The main process of the server, to measure it.
    pub fn pid(&self) -> Result<u32> {
        let process = self.own()?.process()?;
        process
            .as_ref()
            .map(ProcessGroup::pid)
            .context("PostgreSQL has not been started")
    }

    /// Kill -9 of the server and all of its sessions.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.own()?.process()?;
        process
            .as_mut()
            .context("PostgreSQL has not been started")?
            .kill()
            .map(drop)
    }

    /// Starts a killed server again on its port and data.
    pub async fn restart(&self) -> Result<()> {
        let server = self.own()?;
        if let Some(process) = server.process()?.as_mut() {
            ensure!(
                process.ended()?.is_some(),
                "PostgreSQL is still running: kill it before restarting it"
            );
        }
        server.spawn_and_wait().await
    }

    fn own(&self) -> Result<&Server> {
        self.server.as_ref().context(
            "the PostgreSQL of LANEWAY_TEST_POSTGRES is not ours to control: use start_own()",
        )
    }
}

impl Server {
    fn url(&self, user: &str, database: &str) -> String {
        format!(
            "postgres://{user}:{PASSWORD}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    fn process(&self) -> Result<MutexGuard<'_, Option<ProcessGroup>>> {
        match self.process.lock() {
            Ok(process) => Ok(process),
            Err(_) => bail!("the lock of PostgreSQL's process is poisoned by an earlier panic"),
        }
    }

    async fn initialise(&self) -> Result<()> {
        let password = self.folder.path().join("password");
        std::fs::write(&password, PASSWORD)
            .with_context(|| format!("writing {}", password.display()))?;
        self.programs.give(&password)?;
        let mut command = self.programs.command("initdb", self.folder.path());
        command
            .arg("--pgdata")
            .arg(&self.data)
            .args([
                "--username",
                SUPERUSER,
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--no-locale",
                "--no-sync",
                "--pwfile",
            ])
            .arg(&password);
        let mut initdb = ProcessGroup::spawn("initdb", &mut command, &self.log())?;
        let status = initdb.wait(START_BOUND).await?;
        if !status.success() {
            return Err(initdb.with_log(anyhow::anyhow!("initdb failed with {status}")));
        }
        Ok(())
    }

    /// After kill -9 the old server's memory may be in use until its last session is gone, and a
    /// new server then ends at once: it is started again until it stays.
    async fn spawn_and_wait(&self) -> Result<()> {
        let url = self.url(SUPERUSER, SUPERUSER);
        let start = Instant::now();
        loop {
            let mut process = self.spawn()?;
            let ready = process.ready("PostgreSQL to answer", START_BOUND, || async {
                execute(&url, "SELECT 1").await.is_ok()
            });
            match ready.await {
                Ok(()) => {
                    *self.process()? = Some(process);
                    return Ok(());
                }
                Err(error) if start.elapsed() >= START_BOUND => return Err(error),
                Err(error) => tracing::debug!("starting PostgreSQL again: {error:#}"),
            }
        }
    }

    fn spawn(&self) -> Result<ProcessGroup> {
        let mut command = self.programs.command("postgres", self.folder.path());
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string()]);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=64MB",
            "max_connections=1000",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        ProcessGroup::spawn("PostgreSQL", &mut command, &self.log())
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }
}

/// Runs `sql`, which holds nothing from outside, over a connection of its own.
async fn execute(url: &str, sql: &str) -> Result<()> {
    let run = async {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await
    };
    tokio::time::timeout(Duration::from_secs(30), run)
        .await
        .with_context(|| format!("no answer from the test PostgreSQL within 30 s to: {sql}"))?
        .with_context(|| format!("running on the test PostgreSQL: {sql}"))
}

/// `url` with the database `name` in the place of its own.
fn with_database(url: &str, name: &str) -> Result<String> {
    let after_scheme = url
        .find("://")
        .map(|at| at + 3)
        .context("a PostgreSQL URL begins with postgres://")?;
    let (server, query) = url
        .split_once('?')
        .map_or((url, ""), |(server, query)| (server, query));
    let host_end = server[after_scheme..]
        .find('/')
        .map_or(server.len(), |at| after_scheme + at);
    let separator = if query.is_empty() { "" } else { "?" };
    Ok(format!("{}/{name}{separator}{query}", &server[..host_end]))
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_database_in_a_url_is_replaced_and_the_rest_is_kept() {
        let replaced = |url| with_database(url, "new").unwrap();
        assert_eq!(replaced("postgres://u:p@h:1/old"), "postgres://u:p@h:1/new");
        assert_eq!(replaced("postgres://u:p@h:1"), "postgres://u:p@h:1/new");
        assert_eq!(
            replaced("postgres://h/old?sslmode=disable"),
            "postgres://h/new?sslmode=disable"
        );
    }
}
