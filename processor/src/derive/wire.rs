//! The bytes of the state: variable-length integers, and coordinates as the decimal number they
//! were written as wherever that gives back the same bits.

/// Where reading stopped making sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of {len}")]
pub struct DamagedState {
    pub what: &'static str,
    pub at: usize,
    pub len: usize,
}

pub fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Zigzag: small magnitudes are short.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn put_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// `value * scale` where that is a whole number which divided again gives the same bits.
pub fn whole(value: f64, scale: f64) -> Option<i64> {
    let scaled = (value * scale).round();
    if scaled.abs() > 9e15 || scaled.is_nan() {
        return None;
    }
    let whole = scaled as i64;
    (from_whole(whole, scale).to_bits() == value.to_bits()).then_some(whole)
}

pub fn from_whole(whole: i64, scale: f64) -> f64 {
    whole as f64 / scale
}

/// Reads what the functions above wrote.
pub struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub fn new(all: &'a [u8]) -> Self {
        Bytes { all, at: 0 }
    }

    pub fn damaged(&self, what: &'static str) -> DamagedState {
        DamagedState {
            what,
            at: self.at,
            len: self.all.len(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.at == self.all.len()
    }

    pub fn rest(&self) -> &'a [u8] {
        &self.all[self.at..]
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DamagedState> {
        let taken = self
            .at
            .checked_add(len)
            .and_then(|end| self.all.get(self.at..end));
        let taken = taken.ok_or_else(|| self.damaged("the state ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, DamagedState> {
        Ok(self.take(1)?[0])
    }

    pub fn u64(&mut self) -> Result<u64, DamagedState> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number is too long"))
    }

    pub fn u32(&mut self) -> Result<u32, DamagedState> {
        u32::try_from(self.u64()?).map_err(|_| self.damaged("a number is too large"))
    }

    pub fn i64(&mut self) -> Result<i64, DamagedState> {
        let raw = self.u64()?;
        Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    pub fn fixed_u64(&mut self) -> Result<u64, DamagedState> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    pub fn f64(&mut self) -> Result<f64, DamagedState> {
        Ok(f64::from_bits(self.fixed_u64()?))
    }

    pub fn text(&mut self) -> Result<&'a str, DamagedState> {
        let len = self.u64()?;
        let len = usize::try_from(len).map_err(|_| self.damaged("a text is too long"))?;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn numbers_survive(a: u64, b: i64, c: f64, d in -180.0f64..180.0) {
            let mut out = Vec::new();
            put_u64(&mut out, a);
            put_i64(&mut out, b);
            put_f64(&mut out, c);
            put_bytes(&mut out, b"text");
            let mut bytes = Bytes::new(&out);
            proptest::prop_assert_eq!(bytes.u64().unwrap(), a);
            proptest::prop_assert_eq!(bytes.i64().unwrap(), b);
            proptest::prop_assert_eq!(bytes.f64().unwrap().to_bits(), c.to_bits());
            proptest::prop_assert_eq!(bytes.text().unwrap(), "text");
            proptest::prop_assert!(bytes.is_done());
            proptest::prop_assert!(bytes.u8().is_err());

            let short: f64 = format!("{d:.6}").parse().unwrap();
            let back = whole(short, 1e7).map(|w| from_whole(w, 1e7).to_bits());
            proptest::prop_assert!(back == Some(short.to_bits()) || short == 0.0);
            if let Some(w) = whole(d, 1e7) {
                proptest::prop_assert_eq!(from_whole(w, 1e7).to_bits(), d.to_bits());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = Bytes::new(&bytes);
            while reader.text().is_ok() && !reader.is_done() {}
        }
    }
}
