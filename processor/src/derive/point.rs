//! The remembered fixes of a device, in event-time order.

/// A fix, as far as anything is derived from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// recorded_at, µs.
    pub at: i64,
    pub latitude: f64,
    pub longitude: f64,
    /// m/s as reported; NaN where none was.
    pub speed: f64,
    /// Slot of its session; 0 for none.
    pub slot: u8,
    /// Not in a sealed block yet: written with the device's head.
    pub in_tail: bool,
}

impl Point {
    pub fn place(&self) -> (f64, f64) {
        (self.latitude, self.longitude)
    }
}

/// Points ordered by (recorded_at, hash of the fix id). The hashes lie apart, so that looking
/// for a repeat reads them alone.
#[derive(Debug, Clone, Default)]
pub struct Points {
    ids: Vec<u64>,
    rows: Vec<Point>,
    /// Rows before this one are forgotten; their space is taken back now and then.
    start: usize,
}

impl Points {
    pub fn len(&self) -> usize {
        self.rows.len() - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn rows(&self) -> &[Point] {
        &self.rows[self.start..]
    }

    pub fn rows_mut(&mut self) -> &mut [Point] {
        &mut self.rows[self.start..]
    }

    pub fn ids(&self) -> &[u64] {
        &self.ids[self.start..]
    }

    /// Whether a fix with this hash is remembered.
    pub fn contains(&self, id: u64) -> bool {
        // Without an early exit within a chunk, so that it compiles to vector compares.
        self.ids()
            .chunks(64)
            .any(|chunk| chunk.iter().fold(false, |hit, other| hit | (*other == id)))
    }

    /// Inserts in order and returns the place.
    pub fn insert(&mut self, id: u64, point: Point) -> usize {
        let key = (point.at, id);
        let in_order = match (self.rows().last(), self.ids().last()) {
            (Some(row), Some(last)) => (row.at, *last) < key,
            _ => true,
        };
        if in_order {
            self.ids.push(id);
            self.rows.push(point);
            return self.len() - 1;
        }
        let mut place = self.first_at(point.at);
        while place < self.len() && (self.rows()[place].at, self.ids()[place]) < key {
            place += 1;
        }
        self.ids.insert(self.start + place, id);
        self.rows.insert(self.start + place, point);
        place
    }

    /// Place of the first point at or after an event time.
    pub fn first_at(&self, at: i64) -> usize {
        self.rows().partition_point(|row| row.at < at)
    }

    /// Forgets the first `count` points.
    pub fn forget(&mut self, count: usize) {
        self.start += count;
        if self.start > self.rows.len() / 2 {
            self.ids.drain(..self.start);
            self.rows.drain(..self.start);
            self.start = 0;
        }
    }

    /// Gives back the space that is not used.
    pub fn shrink(&mut self) {
        if self.rows.capacity() > self.len() {
            self.ids.drain(..self.start);
            self.rows.drain(..self.start);
            self.start = 0;
            self.ids.shrink_to_fit();
            self.rows.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64) -> Point {
        Point {
            at,
            latitude: 0.0,
            longitude: 0.0,
            speed: f64::NAN,
            slot: 0,
            in_tail: true,
        }
    }

    proptest::proptest! {
        #[test]
        fn points_stay_ordered_over_inserts_and_forgetting(
            steps in proptest::collection::vec((0i64..50, 0u64..1000, 0usize..3), 0..200),
        ) {
            let mut points = Points::default();
            let mut model: Vec<(i64, u64)> = Vec::new();
            for (at, id, forget) in steps {
                let place = points.insert(id, point(at));
                let expected = model.partition_point(|k| *k < (at, id));
                model.insert(expected, (at, id));
                proptest::prop_assert_eq!(place, expected);
                if forget == 2 && model.len() > 10 {
                    points.forget(3);
                    model.drain(..3);
                    points.shrink();
                }
                let got: Vec<_> = points.rows().iter().map(|r| r.at).zip(points.ids().iter().copied()).collect();
                proptest::prop_assert_eq!(&got, &model);
                proptest::prop_assert!(points.contains(id) == model.iter().any(|k| k.1 == id));
            }
        }
    }
}
