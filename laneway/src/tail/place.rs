//! How far the stream has been read: the last token, and what came after it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

#[derive(Debug)]
pub struct Place {
    start: Value,
    token: Option<String>,
    /// The highest offset of each (generation, lane) since the token.
    seen: BTreeMap<(u64, u64), u64>,
}

impl Place {
    /// `live`, `earliest`, a time or a token.
    pub fn starting(text: &str) -> Self {
        let start = match text {
            "live" | "earliest" => json!(text),
            time if time.parse::<jiff::Timestamp>().is_ok() => json!({ "time": time }),
            token => json!({ "token": token }),
        };
        Place {
            start,
            token: None,
            seen: BTreeMap::new(),
        }
    }

    pub fn event(&mut self, position: &Value) {
        if let (Some(generation), Some(lane), Some(offset)) = (
            position[0].as_u64(),
            position[1].as_u64(),
            position[2].as_u64(),
        ) {
            let last = self.seen.entry((generation, lane)).or_default();
            *last = offset.max(*last);
        }
    }

    /// A token covers all lanes as of now, and so what was seen before it.
    pub fn token(&mut self, token: &Value) {
        if let Some(token) = token.as_str() {
            self.token = Some(token.to_owned());
            self.seen.clear();
        }
    }

    /// What to subscribe from.
    pub fn from(&self) -> Value {
        if self.token.is_none() && self.seen.is_empty() {
            return self.start.clone();
        }
        let positions: Vec<[u64; 3]> = self
            .seen
            .iter()
            .map(|((g, lane), offset)| [*g, *lane, *offset])
            .collect();
        let token = self
            .token
            .clone()
            .or_else(|| self.start["token"].as_str().map(str::to_owned));
        match token {
            Some(token) => json!({ "token": token, "positions": positions }),
            None => json!({ "positions": positions }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconnect_goes_on_after_the_token_and_what_came_since() {
        let mut place = Place::starting("live");
        assert_eq!(place.from(), json!("live"));
        place.event(&json!([1, 3, 40]));
        place.event(&json!([1, 3, 42]));
        assert_eq!(place.from(), json!({"positions": [[1, 3, 42]]}));
        place.token(&json!("v1.x"));
        assert_eq!(place.from(), json!({"token": "v1.x", "positions": []}));
        place.event(&json!([1, 4, 7]));
        assert_eq!(
            place.from(),
            json!({"token": "v1.x", "positions": [[1, 4, 7]]})
        );
    }

    #[test]
    fn the_start_may_be_a_word_a_time_or_a_token() {
        assert_eq!(Place::starting("earliest").from(), json!("earliest"));
        assert_eq!(
            Place::starting("2026-01-01T00:00:00Z").from(),
            json!({"time": "2026-01-01T00:00:00Z"})
        );
        let mut place = Place::starting("v1.abc");
        assert_eq!(place.from(), json!({"token": "v1.abc"}));
        place.event(&json!([1, 0, 1]));
        assert_eq!(
            place.from(),
            json!({"token": "v1.abc", "positions": [[1, 0, 1]]})
        );
    }
}
