//! `laneway tail`: a tenant's stream, an event a line, without gaps over reconnects.

mod line;
mod place;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures_util::{SinkExt, StreamExt};
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{self, Target, segment};
use place::Place;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The server pings more often than that.
const SILENCE: Duration = Duration::from_secs(90);
const MAX_MESSAGE: usize = 4 << 20;

#[derive(Debug, Args)]
pub struct Tail {
    /// Address of the API.
    #[arg(
        long,
        env = "LANEWAY_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub url: String,
    /// API key (lwk_…) with stream:read. None where authentication is off.
    #[arg(long, env = "LANEWAY_KEY", hide_env_values = true, value_name = "KEY")]
    pub key: Option<String>,
    /// PEM file of a certificate authority to trust besides the public ones.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Event types, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',', value_name = "TYPES")]
    pub types: Vec<String>,
    /// Devices, separated by commas. Default: all.
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    pub devices: Vec<String>,
    /// A namespace or a tenant that the key may read besides its own, by slug: `runtime` for what
    /// the platform tells.
    #[arg(long, value_name = "TENANT", conflicts_with = "grant")]
    pub tenant: Option<String>,
    /// The grant that a partner reads by (grt_…).
    #[arg(long, value_name = "ID")]
    pub grant: Option<String>,
    /// live, earliest, a time (RFC 3339), or a token.
    #[arg(long, default_value = "live", value_name = "START")]
    pub from: String,
    /// Stop after so many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print each event as it came, a JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// How a connection ended.
enum End {
    /// All that was asked for has been printed.
    Done,
    /// Trying again may help.
    Lost(anyhow::Error),
}

pub async fn run(tail: Tail) -> anyhow::Result<()> {
    let target = Target::url(&tail.url)?;
    let mut place = Place::starting(&tail.from);
    let mut left = tail.count.unwrap_or(u64::MAX);
    let mut pause = FIRST_PAUSE;
    loop {
        let before = left;
        match follow(&tail, &target, &mut place, &mut left).await? {
            End::Done => return Ok(()),
            End::Lost(error) => eprintln!("{error:#}; connecting again"),
        }
        pause = if left < before {
            FIRST_PAUSE
        } else {
            (pause * 2).min(LONGEST_PAUSE)
        };
        tokio::time::sleep(pause).await;
    }
}

/// Follows one connection. An error is one that trying again would not change.
async fn follow(
    tail: &Tail,
    target: &Target,
    place: &mut Place,
    left: &mut u64,
) -> anyhow::Result<End> {
    let stream = match target.connect(tail.ca.as_deref()).await {
        Ok(stream) => stream,
        Err(error) => return Ok(End::Lost(error)),
    };
    let mut request = address(target, tail)?
        .into_client_request()
        .context("making the websocket's request")?;
    if let Some(key) = &tail.key {
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, client::bearer(key)?);
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket =
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => {
                return refused(response.status(), response.body().as_deref());
            }
            Err(error) => {
                return Ok(End::Lost(
                    anyhow::Error::new(error).context("opening the websocket"),
                ));
            }
        };
    let subscribe = json!({
        "type": "subscribe",
        "event_types": tail.types,
        "devices": tail.devices,
        "from": place.from(),
    });
    // A token at once: a cut before the first event is resumed from here, too.
    for message in [subscribe, json!({"type": "token"})] {
        if let Err(error) = socket.send(Message::text(message.to_string())).await {
            return Ok(End::Lost(error.into()));
        }
    }
    let mut out = std::io::stdout().lock();
    loop {
        let text = match tokio::time::timeout(SILENCE, socket.next()).await {
            Err(_) => {
                return Ok(End::Lost(anyhow::anyhow!(
                    "the server has been silent for {} s",
                    SILENCE.as_secs()
                )));
            }
            Ok(None) => return Ok(End::Lost(anyhow::anyhow!("the connection was closed"))),
            Ok(Some(Err(error))) => {
                return Ok(End::Lost(
                    anyhow::Error::new(error).context("the connection was lost"),
                ));
            }
            Ok(Some(Ok(Message::Text(text)))) => text,
            // Where it is an answer to an error, the error came before.
            Ok(Some(Ok(_))) => continue,
        };
        let message: Value = serde_json::from_str(&text)
            .context("reading a message of the stream: it is no JSON")?;
        match message["type"].as_str() {
            Some("event") => {
                let printed = line::print(&mut out, &message["event"], tail.json);
                if matches!(&printed, Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
                {
                    return Ok(End::Done);
                }
                printed.context("printing an event")?;
                place.event(&message["position"]);
                *left = left.saturating_sub(1);
                if *left == 0 {
                    // The server notices an end without a goodbye as well.
                    let _ = socket.close(None).await;
                    return Ok(End::Done);
                }
            }
            Some("token") => place.token(&message["token"]),
            Some("error") => {
                let problem = &message["problem"];
                let status = problem["status"].as_u64().unwrap_or_default();
                let status = u16::try_from(status)
                    .ok()
                    .and_then(|s| StatusCode::from_u16(s).ok());
                return refused(
                    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    Some(problem.to_string().as_bytes()),
                );
            }
            // hello, subscribed, caught_up, and what a later version has.
            _ => {}
        }
    }
}

fn refused(status: StatusCode, problem: Option<&[u8]>) -> anyhow::Result<End> {
    let problem: Value = problem
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    let said = [&problem["title"], &problem["detail"]]
        .map(|text| text.as_str().unwrap_or_default())
        .join(": ");
    let error = anyhow::anyhow!("the stream was refused: {} {said}", status.as_u16());
    let again = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status.is_server_error();
    if again {
        Ok(End::Lost(error))
    } else {
        Err(error)
    }
}

fn address(target: &Target, tail: &Tail) -> anyhow::Result<String> {
    let Target::Url(uri) = target else {
        anyhow::bail!("the stream is not answered on the local socket: give --url")
    };
    let scheme = if uri.scheme_str() == Some("https") {
        "wss"
    } else {
        "ws"
    };
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let optional = |text: Option<&str>, before: &str| {
        text.map_or_else(String::new, |text| format!("{before}{}", segment(text)))
    };
    Ok(format!(
        "{scheme}://{authority}{}{}/stream{}",
        uri.path().trim_end_matches('/'),
        optional(tail.tenant.as_deref(), "/t/"),
        optional(tail.grant.as_deref(), "?grant="),
    ))
}
