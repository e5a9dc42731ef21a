//! The binary as its users have it: `laneway all`, the operator's commands beside it, a track
//! sent, its stream printed, a backup restored.

#[path = "embedded/ask.rs"]
mod ask;
#[path = "embedded/backup.rs"]
mod backup;
#[path = "embedded/hosts.rs"]
mod hosts;
#[path = "embedded/quarantine.rs"]
mod quarantine;
#[path = "embedded/unguarded.rs"]
mod unguarded;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);

struct Laneway {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Laneway {
    fn new(folder: &Path) -> Self {
        // Taken again by the process in a moment; nothing else asks for ports by number.
        let port = TcpListener::bind(("127.0.0.1", 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Laneway {
            folder: folder.to_owned(),
            port,
            process: None,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_laneway"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LANEWAY_")) {
            command.env_remove(name);
        }
        command
            .current_dir(&self.folder)
            .env("LANEWAY_HTTP_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("LANEWAY_OPS_LISTEN", "")
            .args(args);
        command
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.folder.join("all.log")).unwrap();
        self.process = Some(
            self.command(&["all"])
                .stderr(log)
                .stdin(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let started = Instant::now();
        while !self.is_ready() {
            assert!(started.elapsed() < BOUND, "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        let asked =
            stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        asked.is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("all.log")).unwrap_or_default()
    }

    /// Asks it to stop, and waits until it has.
    fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let killed = Command::new("kill")
            .args(["-TERM", &process.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let status = process.wait().unwrap();
        assert!(status.success(), "{}", self.log());
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command printed that succeeded.
    fn out(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn admin(&self, args: &[&str]) -> serde_json::Value {
        let printed = self.out(&[&["admin", "--json"], args].concat());
        serde_json::from_str(&printed).unwrap_or_default()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Laneway {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Gone already is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn a_track_goes_in_comes_out_and_survives_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let mut laneway = Laneway::new(folder.path());
    laneway.start();
    laneway.admin(&["tenant", "create", "acme"]);
    laneway.admin(&["device", "create", "--tenant", "acme", "truck"]);
    let scopes = "stream:read,positions:read,location:write";
    let key =
        laneway.admin(&["key", "create", "--tenant", "acme", "--scope", scopes])["key"].clone();
    let key = key.as_str().unwrap();
    let token = laneway.admin(&[
        "credential",
        "create",
        "--tenant",
        "acme",
        "--device",
        "truck",
    ])["token"]
        .clone();

    let track: String = (0..50)
        .map(|i| format!("52.{i:02},13.4,2026-01-01T12:00:{i:02}Z\n"))
        .collect();
    std::fs::write(
        folder.path().join("track.csv"),
        format!("lat,lon,time\n{track}"),
    )
    .unwrap();
    let url = laneway.url();
    let sent = laneway.out(&[
        "send",
        "track.csv",
        "--url",
        &url,
        "--token",
        token.as_str().unwrap(),
        "--device",
        "truck",
        "--sessions",
        "--batch",
        "7",
    ]);
    assert!(sent.starts_with("50 accepted, 0 refused"), "{sent}");

    let tail = [
        "tail",
        "--url",
        &url,
        "--key",
        key,
        "--from",
        "earliest",
        "--types",
        "laneway.position",
        "--count",
        "50",
    ];
    let lines = laneway.out(&tail);
    assert_eq!(
        lines
            .lines()
            .filter(|line| line.contains("  truck  "))
            .count(),
        50,
        "{lines}"
    );

    let unknown = laneway.run(&[
        "send",
        "track.csv",
        "--url",
        &url,
        "--key",
        key,
        "--device",
        "van",
    ]);
    assert!(!unknown.status.success());
    let refused = laneway.run(&["tail", "--url", &url, "--key", "lwk_wrong"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("401"),
        "a wrong key is tried again"
    );

    let backup = folder.path().join("backup");
    let backup = backup.to_str().unwrap();
    laneway.admin(&["backup", backup]);
    let over = laneway.run(&["restore", "--from", backup]);
    assert!(!over.status.success(), "restored over what is there");
    laneway.stop();

    let elsewhere = tempfile::tempdir().unwrap();
    let mut restored = Laneway::new(elsewhere.path());
    restored.out(&["restore", "--from", backup]);
    restored.start();
    let url = restored.url();
    let tail = [
        "tail",
        "--url",
        &url,
        "--key",
        key,
        "--from",
        "earliest",
        "--types",
        "laneway.position",
        "--count",
        "50",
    ];
    assert_eq!(restored.out(&tail), lines, "the backup has another stream");
    restored.stop();
}

#[test]
fn commands_say_what_is_wrong_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let laneway = Laneway::new(folder.path());
    let said = |args: &[&str]| {
        let output = laneway.run(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said(&["admin", "tenant", "list"]).contains("start `laneway all`"));
    assert!(said(&["ingest"]).contains("run `laneway all`"));
    assert!(said(&["restore", "--from", "nowhere"]).contains("is no backup"));
    assert!(laneway.out(&["config", "check"]).contains("valid"));
    std::fs::write(folder.path().join("laneway.toml"), "[log]\npartitons = 6\n").unwrap();
    assert!(said(&["config", "check"]).contains(
        "log.partitons (from laneway.toml) is no known key; did you mean log.partitions?"
    ));
}
