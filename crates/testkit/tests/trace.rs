//! The recorded trace is as its documentation says, and generated ones are repeatable.

use std::collections::HashMap;

use anyhow::Result;
use laneway_testkit::trace::{self, Fix};

#[test]
fn the_recorded_trace_is_as_documented() -> Result<()> {
    if std::env::var_os("LANEWAY_TRACE").is_some_and(|path| !path.is_empty()) {
        eprintln!("NOT RUN: the recorded trace as documented; LANEWAY_TRACE names another");
        return Ok(());
    }
    let Some(fixes) = trace::geolife()? else {
        return Ok(());
    };
    assert_eq!(fixes.len(), 217_653);
    let mut devices: HashMap<&str, Vec<&Fix>> = HashMap::new();
    for fix in &fixes {
        devices.entry(&fix.device).or_default().push(fix);
    }
    assert_eq!(
        (devices.len(), devices["001"].len(), devices["005"].len()),
        (2, 108_607, 109_046)
    );
    for fixes in devices.values() {
        assert!(
            fixes.is_sorted_by(|a, b| a.recorded_at_us < b.recorded_at_us),
            "a device goes back or stands still in time"
        );
    }
    // 2008-10-23T05:53:05Z
    let first = Fix {
        device: "001".to_owned(),
        recorded_at_us: 1_224_741_185_000_000,
        lat: 39.984094,
        lon: 116.319236,
    };
    assert_eq!(fixes[0], first);
    Ok(())
}

#[test]
fn a_bad_line_is_named_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.txt");
    for (bad, said) in [
        ("1,2,yesterday,d", "yesterday"),
        ("1,2", "2 fields"),
        ("x,2,2008-10-23 05:53:05,d", "latitude"),
    ] {
        std::fs::write(
            &path,
            format!("lat,lng,datetime,uid\n1.5,2.5,2008-10-23 05:53:05,d\n{bad}\n"),
        )
        .unwrap();
        let error = format!("{:#}", trace::read(&path).unwrap_err());
        assert!(error.contains("line 3") && error.contains(said), "{error}");
    }
}

#[test]
fn a_generated_trace_is_the_same_for_the_same_seed_and_another_for_another() {
    let trace = trace::generated(3, 200, 7);
    assert_eq!(trace, trace::generated(3, 200, 7));
    assert_ne!(trace, trace::generated(3, 200, 8));
    assert_eq!(trace.len(), 600);
}

#[test]
fn generated_vehicles_move_like_vehicles() {
    let trace = trace::generated(20, 1_000, 1);
    let mut last: HashMap<&str, &Fix> = HashMap::new();
    let (mut still, mut moving) = (0, 0);
    for fix in &trace {
        assert!(fix.lat.abs() <= 80.0 && fix.lon.abs() <= 180.0, "{fix:?}");
        if let Some(before) = last.insert(&fix.device, fix) {
            let seconds = (fix.recorded_at_us - before.recorded_at_us) as f64 / 1e6;
            assert!((1.0..=5.0).contains(&seconds), "{before:?} {fix:?}");
            let north = (fix.lat - before.lat) * 111_320.0;
            let east = (fix.lon - before.lon) * 111_320.0 * fix.lat.to_radians().cos();
            let speed = north.hypot(east) / seconds;
            assert!(speed < 31.0, "{speed} m/s from {before:?} to {fix:?}");
            if speed < 0.1 { still += 1 } else { moving += 1 }
        }
    }
    assert!(
        still > trace.len() / 20 && moving > trace.len() / 3,
        "{still} still, {moving} moving"
    );
}
