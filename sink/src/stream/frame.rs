//! Websocket frames of a server (RFC 6455 section 5.2): final, text, not masked.

use bytes::{BufMut, Bytes, BytesMut};

/// A whole text message in one frame.
pub fn text(message: &str) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 10);
    frame.put_u8(0x81);
    match message.len() {
        short @ 0..=125 => frame.put_u8(short as u8),
        medium @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(medium as u16);
        }
        long => {
            frame.put_u8(127);
            frame.put_u64(long as u64);
        }
    }
    frame.put_slice(message.as_bytes());
    frame.freeze()
}
