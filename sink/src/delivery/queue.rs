//! Events of one destination and lane that wait: in order within a device, one of a device in
//! flight, the devices beside each other. A device's dead letters that are redriven are a queue
//! beside its own: what it sends now does not wait for them.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use foldhash::HashMap;
use tokio::time::Instant;

use super::destination::Event;

#[derive(Default)]
struct Device {
    waiting: VecDeque<Arc<Event>>,
    /// Attempts of the first event that failed.
    attempts: u32,
    refusals: u32,
    /// Successes of the destination when the first event was first refused.
    successes: u64,
}

#[derive(Default)]
pub struct Queues {
    devices: HashMap<Box<str>, Device>,
    /// Devices whose first event may be sent.
    ready: VecDeque<Box<str>>,
    /// Devices that wait after a failure.
    later: BinaryHeap<Reverse<(Instant, Box<str>)>>,
    waiting: usize,
    in_flight: usize,
}

/// No device's id begins like the second one.
fn name(event: &Event) -> Cow<'_, str> {
    if event.redriven {
        Cow::Owned(format!("~{}", event.device))
    } else {
        Cow::Borrowed(&event.device)
    }
}

impl Queues {
    /// Events in memory, those in flight included.
    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn push(&mut self, event: Arc<Event>) {
        self.waiting += 1;
        if let Some(device) = self.devices.get_mut(&*name(&event)) {
            device.waiting.push_back(event);
            return;
        }
        let name: Box<str> = name(&event).into();
        let device = Device {
            waiting: VecDeque::from([event]),
            ..Device::default()
        };
        self.devices.insert(name.clone(), device);
        self.ready.push_back(name);
    }

    /// Whether something can be sent now.
    pub fn has_ready(&mut self, now: Instant) -> bool {
        while self.later.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, device))) = self.later.pop() {
                self.ready.push_back(device);
            }
        }
        !self.ready.is_empty()
    }

    /// The first event of a device whose turn it is. It stays first until its outcome is known.
    pub fn begin(&mut self) -> Option<Arc<Event>> {
        let name = self.ready.pop_front()?;
        let event = self.devices.get(&name)?.waiting.front().map(Arc::clone)?;
        self.in_flight += 1;
        Some(event)
    }

    /// When the next device's wait is over.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.peek().map(|Reverse((at, _))| *at)
    }

    /// The first event of its device is done.
    pub fn done(&mut self, event: &Event) {
        self.in_flight -= 1;
        let name = name(event);
        let Some(device) = self.devices.get_mut(&*name) else {
            return;
        };
        if device.waiting.pop_front().is_some() {
            self.waiting -= 1;
        }
        device.attempts = 0;
        device.refusals = 0;
        if device.waiting.is_empty() {
            self.devices.remove(&*name);
        } else {
            self.ready.push_back(name.into_owned().into());
        }
    }

    /// The first event of its device failed; how many times in a row it has now.
    pub fn failed(&mut self, event: &Event) -> u32 {
        let Some(device) = self.devices.get_mut(&*name(event)) else {
            return 1;
        };
        device.attempts += 1;
        device.attempts
    }

    /// The first event of its device was refused: how often now, and how many successes the
    /// destination had when that began.
    pub fn refused(&mut self, event: &Event, successes: u64) -> (u32, u64) {
        let Some(device) = self.devices.get_mut(&*name(event)) else {
            return (1, successes);
        };
        if device.refusals == 0 {
            device.successes = successes;
        }
        device.refusals += 1;
        (device.refusals, device.successes)
    }

    /// The first event of its device is tried again then.
    pub fn wait(&mut self, event: &Event, until: Instant) {
        self.in_flight -= 1;
        self.later.push(Reverse((until, name(event).into())));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn event(offset: u64, device: &str) -> Arc<Event> {
        Arc::new(Event {
            offset,
            id: "id".into(),
            device: device.into(),
            body: Bytes::new(),
            redriven: false,
        })
    }

    #[tokio::test]
    async fn a_device_has_one_in_flight_and_others_go_on_beside_it() {
        let mut queues = Queues::default();
        for (offset, device) in [(0, "a"), (1, "a"), (2, "b")] {
            queues.push(event(offset, device));
        }
        let now = Instant::now();
        assert!(queues.has_ready(now));
        let (a, b) = (queues.begin().unwrap(), queues.begin().unwrap());
        assert_eq!((a.offset, b.offset), (0, 2));
        assert!(queues.begin().is_none());
        assert_eq!(queues.failed(&a), 1);
        queues.wait(&a, now + Duration::from_secs(1));
        queues.done(&b);
        assert!(!queues.has_ready(now));
        assert!(queues.has_ready(now + Duration::from_secs(1)));
        let a = queues.begin().unwrap();
        assert_eq!(a.offset, 0, "the failed one again, not the next");
        queues.done(&a);
        let a = queues.begin().unwrap();
        assert_eq!(a.offset, 1);
        queues.done(&a);
        assert_eq!((queues.len(), queues.in_flight()), (0, 0));
    }

    #[test]
    fn a_dead_letter_that_is_redriven_holds_its_device_up_no_more() {
        let mut queues = Queues::default();
        let letter = Event {
            redriven: true,
            ..Arc::into_inner(event(0, "a")).unwrap()
        };
        queues.push(Arc::new(letter));
        queues.push(event(9, "a"));
        let (letter, live) = (queues.begin().unwrap(), queues.begin().unwrap());
        assert!(letter.redriven && !live.redriven);
        queues.done(&live);
        queues.done(&letter);
        assert_eq!((queues.len(), queues.in_flight()), (0, 0));
    }
}
