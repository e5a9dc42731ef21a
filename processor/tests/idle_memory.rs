//! What an idle device costs. Counts what is allocated: this file has one test, and so a process
//! of its own.

use std::collections::HashMap;

use laneway_processor::derive::{Bounds, Device, Fix, Touch};

const DEVICES: u32 = 1_000_000;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this test runs on Linux");
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn an_idle_device_takes_less_than_300_bytes() {
    let bounds = Bounds { horizon_us: 86_400_000_000, max_points: 2_000 };
    let before = resident_bytes();
    let mut touch = Touch::default();
    let mut chunks: Vec<Vec<Device>> = Vec::new();
    let mut index: HashMap<u64, u32> = HashMap::new();
    for n in 0..DEVICES {
        if n % 256 == 0 {
            chunks.push(Vec::with_capacity(256));
        }
        touch.reset(n);
        let mut device = Device::new(0, &format!("vehicle-{n:07}"));
        let id = format!("vehicle-{n:07}-1763690400000000");
        let fix = Fix {
            id: &id,
            session: None,
            at: 1_763_690_400_000_000 + i64::from(n),
            received_at: 1_763_690_400_000_000,
            latitude: 52.0,
            longitude: 13.0,
            speed: None,
            ahead: false,
        };
        device.apply_fix(&fix, &bounds, &mut touch, &mut |_| {});
        device.close_idle(&bounds, &mut touch, &mut |_| {});
        device.shrink();
        chunks.last_mut().unwrap().push(device);
        index.insert(u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15), n);
    }
    let each = (resident_bytes() - before) / DEVICES as usize;
    println!("{each} bytes an idle device, {} of them its struct", size_of::<Device>());
    assert!(each < 300, "{each} bytes an idle device");
    drop((chunks, index));
}
