//! What an idle device costs. Its one test measures the resident memory of a process of its own.

use laneway_processor::derive::{Bounds, Fix, Touch};
use laneway_processor::devices::Devices;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const DEVICES: u32 = 1_000_000;
const PARTITIONS: u32 = 24;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this test runs on Linux");
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn an_idle_device_takes_less_than_300_bytes() {
    let bounds = Bounds {
        horizon_us: 86_400_000_000,
        max_points: 2_000,
        remembered_ids: 20_000,
    };
    let before = resident_bytes();
    let mut touch = Touch::default();
    let mut partitions: Vec<Devices> = (0..PARTITIONS).map(|_| Devices::new()).collect();
    for n in 0..DEVICES {
        let devices = &mut partitions[(n % PARTITIONS) as usize];
        let place = devices.place(0, &format!("vehicle-{n:07}"));
        let device = devices.get_mut(place);
        touch.reset(place);
        for i in 0..3 {
            let id = format!("vehicle-{n:07}-{}", 1_763_690_400_000_000u64 + i);
            let fix = Fix {
                id: &id,
                session: None,
                at: 1_763_690_400_000_000 + i64::from(n) + i64::try_from(i).unwrap() * 1_000_000,
                received_at: 1_763_690_400_000_000,
                latitude: f64::from(n) / 1e5,
                longitude: 13.123_456,
                speed: Some(12.5),
                ahead: false,
            };
            device.apply_fix(&fix, &bounds, &mut touch, &mut |_| {});
        }
        device.close_idle(&bounds, &mut touch, &mut |_| {});
        devices.rest(place);
    }
    let each = (resident_bytes() - before) / DEVICES as usize;
    println!("{each} bytes an idle device with 3 remembered fixes");
    assert!(each < 300, "{each} bytes an idle device");

    let place = partitions[5].place(0, "vehicle-0000005");
    assert_eq!(
        partitions[5].len(),
        DEVICES as usize / PARTITIONS as usize + 1
    );
    assert_eq!(
        partitions[5].get_mut(place).points().len(),
        3,
        "what it rested with is not what it wakes with"
    );
}
