//! A backup is of one instant, whatever is written meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use laneway_runtime::{Clock, SystemClock};
use serde_json::{Value, json};

use super::Laneway;
use super::ask::{ask, wait_for};

/// Fix `n` of the truck.
fn fix(start_us: i64, n: u32) -> Value {
    let at = jiff::Timestamp::from_microsecond(start_us + i64::from(n) * 1000).unwrap();
    json!({"id": format!("f{n}"), "recorded_at": at.to_string(), "lat": 52.5, "lon": 13.0})
}

impl Laneway {
    /// The fixes of the first `count` positions of the truck that the stream has.
    fn positions(&self, key: &str, count: u32) -> Vec<String> {
        let count = count.to_string();
        let url = self.url();
        let from = ["tail", "--url", &url, "--key", key, "--from", "earliest"];
        let what = ["--types", "laneway.position", "--devices", "truck"];
        let until = ["--json", "--count", &count];
        let printed = self.folder.join("tail.jsonl");
        let mut tail = self
            .command(&[&from[..], &what, &until].concat())
            .stdout(std::fs::File::create(&printed).unwrap())
            .spawn()
            .unwrap();
        let mut status = None;
        wait_for("all positions in the stream", || {
            status = tail.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success());
        let printed = std::fs::read_to_string(printed).unwrap();
        let events = printed.lines().map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["data"]["fix_id"].as_str().unwrap().to_owned()
        });
        events.collect()
    }

    fn has_no_lag(&self) -> bool {
        let lag = self.admin(&["lag"]);
        let lanes = lag["lanes"].as_array().unwrap();
        lanes.iter().all(|lane| lane["lag"] == 0)
    }
}

#[test]
fn a_backup_under_load_is_of_one_instant_and_has_all_that_was_confirmed_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut laneway = Laneway::new(folder.path());
    laneway.start();
    let operator = laneway.admin(&["operator-key", "create"])["key"].clone();
    let operator = operator.as_str().unwrap();
    laneway.admin(&["tenant", "create", "acme"]);
    laneway.admin(&["device", "create", "--tenant", "acme", "truck"]);
    let grants = "stream:read,positions:read,location:write";
    let key = ["key", "create", "--tenant", "acme", "--scope", grants];
    let key = laneway.admin(&key)["key"].clone();
    let key = key.as_str().unwrap();
    let of_truck = ["--tenant", "acme", "--device", "truck"];
    let token = laneway.admin(&[&["credential", "create"], &of_truck[..]].concat());
    let token = token["token"].as_str().unwrap();

    let (port, start_us) = (laneway.port, SystemClock.now_us() - 3_600_000_000);
    let (stop, confirmed, registered) =
        (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let backup = folder.path().join("backup");
    let backup = backup.to_str().unwrap();
    let before = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let n = confirmed.load(Ordering::SeqCst);
                let sent = ask(port, "POST", "/location/update", token, &fix(start_us, n));
                assert_eq!(sent.0, 200, "{}", sent.1);
                confirmed.store(n + 1, Ordering::SeqCst);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let n = registered.load(Ordering::SeqCst);
                let device = json!({"id": format!("d{n:06}")});
                let made = ask(port, "POST", "/tenants/acme/devices", operator, &device);
                assert_eq!(made.0, 201, "{}", made.1);
                registered.store(n + 1, Ordering::SeqCst);
            }
        });
        wait_for("some load", || {
            confirmed.load(Ordering::SeqCst) > 200 && registered.load(Ordering::SeqCst) > 200
        });
        let before = (
            confirmed.load(Ordering::SeqCst),
            registered.load(Ordering::SeqCst),
        );
        laneway.admin(&["backup", backup]);
        let after = confirmed.load(Ordering::SeqCst);
        wait_for("some that is not in the backup", || {
            confirmed.load(Ordering::SeqCst) > after + 20
        });
        stop.store(true, Ordering::SeqCst);
        before
    });
    laneway.stop();

    let elsewhere = tempfile::tempdir().unwrap();
    let mut restored = Laneway::new(elsewhere.path());
    restored.out(&["restore", "--from", backup]);
    restored.start();
    wait_for("everything to be derived and projected", || {
        restored.has_no_lag()
    });
    let (_, latest) = restored.ask("GET", "/devices/truck/position", key, &Value::Null);
    let last: u32 = latest["fix_id"].as_str().unwrap()[1..].parse().unwrap();
    assert!(last + 1 >= before.0, "{last} of {} confirmed", before.0);
    assert!(last < confirmed.into_inner(), "nothing was sent after it");
    let expected: Vec<String> = (0..=last).map(|n| format!("f{n}")).collect();
    assert_eq!(restored.positions(key, last + 1), expected);

    // What roles know of the control changes goes on where the store does.
    let devices = restored.admin(&["device", "list", "--tenant", "acme"]);
    let devices = devices.as_array().unwrap();
    assert!(
        devices.len() > before.1 as usize,
        "{} devices",
        devices.len()
    );
    let newest = devices[devices.len() - 2]["id"].as_str().unwrap();
    assert!(newest.starts_with('d'), "{newest}");
    restored.admin(&["device", "create", "--tenant", "acme", "after"]);
    for device in [newest, "after"] {
        let mut fix = fix(start_us, 1);
        fix["device_id"] = device.into();
        wait_for(device, || {
            restored.ask("POST", "/location/update", key, &fix).0 == 200
        });
        let path = format!("/devices/{device}/position");
        wait_for(&path, || {
            restored.ask("GET", &path, key, &Value::Null).0 == 200
        });
    }
    restored.stop();
}
