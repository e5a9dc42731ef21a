//! The lines of a body, read as they are asked for.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;

/// Longest line, in bytes.
pub(super) const MAX_LINE: usize = 8192;
/// How long the next bytes may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Line {
    /// From 1, as an editor counts them.
    pub(super) number: u64,
    /// `None` for one that is too long.
    pub(super) text: Option<Bytes>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LinesError {
    #[error("the body ended early: {0}")]
    Broken(axum::Error),
    #[error(
        "nothing came for {} s, or the request took too long; send the rest in another one",
        PATIENCE.as_secs()
    )]
    TooSlow,
    #[error("there are more than {0} lines; send the rest in another request")]
    TooMany(u64),
}

pub(super) struct Lines {
    body: BodyDataStream,
    buffer: BytesMut,
    /// Of the buffer: there is no line end before.
    looked: usize,
    /// The beginning of the line was too long, and is gone.
    cut: bool,
    number: u64,
    ended: bool,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Lines {
            body: body.into_data_stream(),
            buffer: BytesMut::new(),
            looked: 0,
            cut: false,
            number: 0,
            ended: false,
        }
    }

    /// The next line that is not empty. May be given up and asked for again.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, LinesError> {
        loop {
            if let Some(line) = self.take() {
                if line.text.as_ref().is_none_or(|text| !text.is_empty()) {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            let read = tokio::time::timeout(PATIENCE, self.body.next()).await;
            match read.map_err(|_| LinesError::TooSlow)? {
                Some(bytes) => self
                    .buffer
                    .extend_from_slice(&bytes.map_err(LinesError::Broken)?),
                None => self.ended = true,
            }
        }
    }

    fn take(&mut self) -> Option<Line> {
        let end = self.buffer[self.looked..].iter().position(|b| *b == b'\n');
        let text = match end {
            Some(end) => {
                let text = self.buffer.split_to(self.looked + end).freeze();
                self.buffer.advance(1);
                text
            }
            None if self.ended && (self.cut || !self.buffer.is_empty()) => {
                std::mem::take(&mut self.buffer).freeze()
            }
            None => {
                self.looked = self.buffer.len();
                if self.looked > MAX_LINE {
                    self.buffer.clear();
                    self.looked = 0;
                    self.cut = true;
                }
                return None;
            }
        };
        self.looked = 0;
        self.number += 1;
        let cut = std::mem::take(&mut self.cut) || text.len() > MAX_LINE;
        let trimmed = text.slice_ref(text.trim_ascii());
        Some(Line {
            number: self.number,
            text: (!cut).then_some(trimmed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(parts: Vec<Vec<u8>>) -> Vec<(u64, Option<String>)> {
        let parts = parts.into_iter().map(Ok::<_, std::convert::Infallible>);
        let mut lines = Lines::new(Body::from_stream(futures_util::stream::iter(parts)));
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            let text = line.text.map(|t| String::from_utf8(t.to_vec()).unwrap());
            found.push((line.number, text));
        }
        found
    }

    #[tokio::test]
    async fn lines_are_the_same_however_the_body_is_cut() {
        let text = b"a\r\n\nbb\n  \nccc";
        let expected = [(1, "a"), (3, "bb"), (5, "ccc")].map(|(n, t)| (n, Some(t.to_owned())));
        for size in 1..=text.len() {
            let parts = text.chunks(size).map(<[u8]>::to_vec).collect();
            assert_eq!(lines(parts).await, expected, "parts of {size}");
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_without_being_kept() {
        let mut parts = vec![b"a\n".to_vec()];
        parts.extend((0..40).map(|_| vec![b'x'; 1000]));
        parts.push(b"\nb\n".to_vec());
        let expected = [
            (1, Some("a".to_owned())),
            (2, None),
            (3, Some("b".to_owned())),
        ];
        assert_eq!(lines(parts).await, expected);
    }
}
