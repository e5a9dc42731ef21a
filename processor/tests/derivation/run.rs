//! Feeds a device and keeps what it says.

use std::collections::{BTreeMap, BTreeSet};

use laneway_processor::derive::{
    Bounds, Derived, Device, Fix as Input_, FixOutcome, SessionOutcome, SessionStep, StateBody,
    Touch, decode_device, write_state,
};
use laneway_schemas::{Attributes, SessionAction};

use crate::model::{Fix, Session, Window};

#[derive(Debug, Clone)]
pub enum Input {
    Fix(Fix),
    Start(String, i64),
    Stop(String, i64),
}

pub struct Run {
    pub device: Device,
    bounds: Bounds,
    touch: Touch,
    /// Everything said, in order.
    pub said: Vec<String>,
    pub late: BTreeSet<String>,
    in_time: BTreeSet<String>,
    positions: Vec<String>,
    windows: BTreeMap<i64, (u32, Window)>,
    sessions: BTreeMap<String, (u32, Session)>,
    head: Vec<u8>,
    parts: BTreeMap<StateBody, Vec<u8>>,
    pub last_head_bytes: usize,
    pub blocks_written: usize,
}

#[derive(Default)]
struct Sink {
    said: Vec<String>,
    windows: Vec<(i64, u32, Window)>,
    sessions: Vec<(String, u32, Session)>,
}

impl Sink {
    fn take(&mut self, derived: &Derived<'_>) {
        self.said.push(match derived {
            Derived::Window { start, value } => format!("window {start} {value:?}"),
            Derived::Updated { session } => format!(
                "updated {} {} {:?}",
                session.id, session.revision, session.totals
            ),
            Derived::Stopped { session, .. } => {
                format!(
                    "stopped {} {} {:?}",
                    session.id, session.revision, session.totals
                )
            }
        });
        let (session, stopped_at) = match derived {
            Derived::Window { start, value } => {
                let window = Window {
                    fixes: value.fixes,
                    distance_m: value.distance_m,
                    max_speed_mps: value.max_speed_mps,
                };
                return self.windows.push((*start, value.revision, window));
            }
            Derived::Updated { session } => (session, None),
            Derived::Stopped {
                session,
                stopped_at,
            } => (session, Some(*stopped_at)),
        };
        let said = Session {
            stopped_at,
            started_at: session.started_at,
            fixes: session.totals.fixes,
            distance_m: session.totals.distance_m,
            duration_s: session.duration_s(),
        };
        self.sessions
            .push((session.id.to_string(), session.revision, said));
    }
}

impl Run {
    pub fn new(bounds: Bounds) -> Self {
        let mut touch = Touch::default();
        touch.reset(0);
        Run {
            device: Device::new(0, "device"),
            bounds,
            touch,
            said: Vec::new(),
            late: BTreeSet::new(),
            in_time: BTreeSet::new(),
            positions: Vec::new(),
            windows: BTreeMap::new(),
            sessions: BTreeMap::new(),
            head: Vec::new(),
            parts: BTreeMap::new(),
            last_head_bytes: 0,
            blocks_written: 0,
        }
    }

    /// All inputs in units of the given lengths, over and over; after each one the state is
    /// written, and read back where `restart` says so.
    pub fn all(&mut self, inputs: &[Input], units: &[usize], restart: bool) {
        let mut lengths = units.iter().cycle();
        let mut left = *lengths.next().unwrap();
        for input in inputs {
            self.input(input);
            left -= 1;
            if left == 0 {
                self.end_unit(restart);
                left = *lengths.next().unwrap();
            }
        }
        self.end_unit(restart);
    }

    pub fn session_start(&mut self, id: &str, at: i64) {
        self.input(&Input::Start(id.to_owned(), at));
    }

    fn input(&mut self, input: &Input) {
        match input {
            Input::Fix(fix) => {
                let outcome = self.fix(fix, false);
                if let FixOutcome::Accepted { late, .. } = outcome {
                    self.positions.push(fix.id.clone());
                    self.said.push(format!("position {} {outcome:?}", fix.id));
                    // A repeat of what is forgotten is late, but the fix was not.
                    if late && !self.in_time.contains(&fix.id) {
                        self.late.insert(fix.id.clone());
                    }
                    if !late {
                        assert!(
                            self.in_time.insert(fix.id.clone()),
                            "{} was accepted twice in time",
                            fix.id
                        );
                    }
                }
            }
            Input::Start(id, at) => self.session(id, *at, SessionAction::Start),
            Input::Stop(id, at) => self.session(id, *at, SessionAction::Stop),
        }
    }

    fn fix(&mut self, fix: &Fix, ahead: bool) -> FixOutcome {
        let mut sink = Sink::default();
        let input = Input_ {
            id: &fix.id,
            session: fix.session.as_deref(),
            at: fix.at,
            received_at: fix.at,
            latitude: fix.latitude,
            longitude: fix.longitude,
            speed: fix.speed,
            ahead,
        };
        let outcome = self
            .device
            .apply_fix(&input, &self.bounds, &mut self.touch, &mut |d| {
                sink.take(&d)
            });
        self.keep(sink);
        outcome
    }

    pub fn ahead(&mut self, id: &str, at: i64) -> bool {
        let fix = Fix {
            id: id.into(),
            at,
            latitude: 1.0,
            longitude: 1.0,
            speed: None,
            session: None,
        };
        self.fix(&fix, true) != FixOutcome::Repeat
    }

    fn session(&mut self, id: &str, at: i64, action: SessionAction) {
        let mut sink = Sink::default();
        let step = SessionStep {
            session: id,
            action,
            at,
            received_at: at,
            attributes: &Attributes::new(),
        };
        let outcome = self
            .device
            .apply_session(&step, &self.bounds, &mut self.touch, &mut |d| sink.take(&d));
        self.keep(sink);
        if outcome == SessionOutcome::Started {
            self.said.push(format!("started {id} {at}"));
        }
    }

    pub fn close_idle(&mut self) {
        let mut sink = Sink::default();
        self.device
            .close_idle(&self.bounds, &mut self.touch, &mut |d| sink.take(&d));
        self.keep(sink);
        assert!(!self.device.waits(), "a device waits after its idle close");
    }

    fn end_unit(&mut self, restart: bool) {
        let mut sink = Sink::default();
        self.device
            .finish(&self.bounds, &mut self.touch, &mut |d| sink.take(&d));
        self.keep(sink);
        self.touch.reset(0);
        let (head, parts) = (&mut self.head, &mut self.parts);
        let written = &mut self.blocks_written;
        write_state(
            &mut self.device,
            &mut Vec::new(),
            &mut |part, body| match (part, body) {
                (StateBody::Head, body) => *head = body.unwrap().to_vec(),
                (part, Some(body)) => {
                    *written += usize::from(matches!(part, StateBody::Block(_)));
                    let mut key = Vec::new();
                    part.put_key(&mut key);
                    let key = std::str::from_utf8(&key[1..]).unwrap();
                    assert_eq!(StateBody::parse_key(key), Some(part));
                    let before = parts.insert(part, body.to_vec());
                    assert!(before.is_none(), "{part:?} was written twice");
                }
                // One that came and went within the unit was never there.
                (part, None) => {
                    let there = parts.remove(&part).is_some();
                    assert!(there || matches!(part, StateBody::Run(_)), "{part:?}");
                }
            },
        );
        self.last_head_bytes = self.head.len();
        if restart {
            self.device = decode_device(0, "device", &self.head, &self.parts).unwrap();
        }
    }

    fn keep(&mut self, sink: Sink) {
        self.said.extend(sink.said);
        for (start, revision, window) in sink.windows {
            let before = self.windows.insert(start, (revision, window));
            assert!(
                before.is_none_or(|(r, _)| r < revision),
                "window {start}: {revision} after {before:?}"
            );
        }
        for (id, revision, session) in sink.sessions {
            let before = self.sessions.insert(id.clone(), (revision, session));
            assert!(
                before.as_ref().is_none_or(|(r, _)| *r < revision),
                "session {id}: {revision} after {before:?}"
            );
        }
    }

    /// Positions that were said.
    pub fn accepted(&self) -> usize {
        self.positions.len()
    }

    /// Records of the state, but the head.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    pub fn windows(&self) -> BTreeMap<i64, Window> {
        self.windows
            .iter()
            .map(|(start, (_, window))| (*start, *window))
            .collect()
    }

    pub fn sessions(&self) -> BTreeMap<String, Session> {
        self.sessions
            .iter()
            .map(|(id, (_, session))| (id.clone(), session.clone()))
            .collect()
    }

    /// Every fix was accepted once, and the last one said to be the latest is.
    pub fn check_positions(&self, fixes: &[Fix]) {
        let mut once: Vec<_> = self.positions.clone();
        once.sort();
        let mut expected: Vec<_> = fixes.iter().map(|f| f.id.clone()).collect();
        expected.sort();
        assert_eq!(once, expected);
        let latest = fixes.iter().map(|f| (f.at, f.id.as_str())).max().unwrap();
        assert_eq!(
            (self.device.watermark(), self.device.latest_fix()),
            (Some(latest.0), latest.1)
        );
    }
}
