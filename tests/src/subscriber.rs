//! A websocket client that tallies a tenant's stream, and resumes where it was after a cut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::tally::Tally;

const PAUSE: Duration = Duration::from_millis(100);

/// Highest position seen, by generation and lane.
type Positions = BTreeMap<(u64, u64), u64>;

#[derive(Debug, Default)]
struct State {
    tally: Tally,
    positions: Positions,
    token: Option<String>,
    connections: u64,
    open: bool,
    caught_up: bool,
    /// An error that trying again does not mend.
    failure: Option<String>,
}

/// Follows the stream in the background until dropped.
pub struct Subscriber {
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscriber {
    /// `url` such as `ws://127.0.0.1:8080/stream`. Starts at the earliest retained event.
    pub fn start(url: String, key: String, tenant: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            tally: Tally::of_tenant(tenant),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let followed = follow(&url, &key, &shared).await;
                lock(&shared).open = false;
                if let Err(error) = followed
                    && error.downcast_ref::<Refused>().is_some()
                {
                    lock(&shared).failure = Some(format!("{error:#}"));
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Subscriber { state, task }
    }

    pub fn with_tally<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&lock(&self.state).tally)
    }

    pub fn connections(&self) -> u64 {
        lock(&self.state).connections
    }

    /// Whether it is connected at the moment.
    pub fn is_open(&self) -> bool {
        lock(&self.state).open
    }

    pub fn caught_up(&self) -> bool {
        lock(&self.state).caught_up
    }

    pub fn failure(&self) -> Option<String> {
        lock(&self.state).failure.clone()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the subscription was refused: {0}")]
struct Refused(String);

async fn follow(url: &str, key: &str, state: &Mutex<State>) -> Result<()> {
    let mut request = url.into_client_request()?;
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {key}").parse()?);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
    let from = {
        let mut state = lock(state);
        state.connections += 1;
        state.open = true;
        resume_from(&state)
    };
    socket
        .send(Message::text(
            json!({ "type": "subscribe", "from": from }).to_string(),
        ))
        .await?;
    // One at once, so that a cut before the first event that brings one is resumed, too.
    socket
        .send(Message::text(json!({ "type": "token" }).to_string()))
        .await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        let message: Value = serde_json::from_str(&text).context("a message that is not JSON")?;
        take(&message, &mut lock(state))?;
    }
    bail!("the server closed the connection")
}

/// The earliest event at first, then after the last token and the events that came since.
fn resume_from(state: &State) -> Value {
    let Some(token) = &state.token else {
        return json!("earliest");
    };
    let positions: Vec<Value> = state
        .positions
        .iter()
        .map(|((generation, lane), offset)| json!([generation, lane, offset]))
        .collect();
    json!({ "token": token, "positions": positions })
}

fn take(message: &Value, state: &mut State) -> Result<()> {
    match message["type"].as_str() {
        Some("token") => state.token = message["token"].as_str().map(str::to_owned),
        Some("event") => {
            let place = |i: usize| {
                message["position"][i]
                    .as_u64()
                    .context("an event without its position")
            };
            let (lane, offset) = ((place(0)?, place(1)?), place(2)?);
            state.tally.add(&message["event"])?;
            state.positions.insert(lane, offset);
        }
        Some("caught_up") => state.caught_up = true,
        Some("error") => return Err(Refused(message.to_string()).into()),
        _ => {}
    }
    Ok(())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
