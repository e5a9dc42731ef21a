//! Devices in bulk: lines in, lines out, a chunk at a time. A chunk is one transaction, and is
//! answered before the next one is read.

mod columns;
mod lines;
mod report;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use laneway_store::{NewDevice, NewToken, Registered, StoreError};
use laneway_tenancy::{CredentialId, TenantScope, Token, TokenKind, new_id};
use tokio::time::Instant;

use crate::Control;
use crate::api::devices::DeviceNew;
use crate::error::{ApiError, ApiResult};
use columns::Columns;
use lines::{Line, Lines, LinesError};
use report::{Given, Outcome, Report};

/// Lines of a transaction.
const CHUNK: usize = 1000;
/// Lines of a request.
const MAX_LINES: u64 = 100_000;
/// How long a line waits for others to share its transaction.
const LINGER: Duration = Duration::from_millis(250);
/// How long a request may take: who may make it is not asked again meanwhile.
const MAX_TIME: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Json,
}

pub(crate) struct Bulk {
    control: Arc<Control>,
    scope: TenantScope,
    format: Format,
    tokens: bool,
    lines: Lines,
    columns: Option<Columns>,
    report: Report,
    until: Instant,
    ended: bool,
}

/// A line that may become a device.
struct Row {
    line: u64,
    device: Result<NewDevice, String>,
    token: Option<Token>,
}

impl Bulk {
    pub(crate) fn new(
        control: Arc<Control>,
        scope: TenantScope,
        format: Format,
        tokens: bool,
        body: Body,
    ) -> Self {
        Bulk {
            control,
            scope,
            format,
            tokens,
            lines: Lines::new(body),
            columns: None,
            report: Report::default(),
            until: Instant::now() + MAX_TIME,
            ended: false,
        }
    }

    /// The answer, part by part, each when it is asked for. Fails where the first part cannot be
    /// made.
    pub(crate) async fn answer(
        mut self,
    ) -> ApiResult<impl Stream<Item = Result<Bytes, Infallible>> + Send> {
        if self.format == Format::Csv {
            let header = match self.lines.next().await {
                Ok(Some(Line {
                    text: Some(text), ..
                })) => text,
                Ok(_) => return Err(ApiError::invalid("The first line has to be the header.")),
                Err(error) => return Err(ApiError::invalid(format!("{error}."))),
            };
            let columns = Columns::of(&header);
            self.columns = Some(columns.map_err(|e| ApiError::invalid(format!("{e}.")))?);
        }
        let first = self.part().await?;
        let rest = futures_util::stream::unfold(self, |mut bulk| async move {
            if bulk.ended {
                return None;
            }
            let part = match bulk.part().await {
                Ok(part) => part,
                Err(error) => bulk.end(Some(error)),
            };
            Some((part, bulk))
        });
        let first = futures_util::stream::once(async move { first });
        Ok(first.chain(rest).map(Ok))
    }

    /// Registers the next chunk; what is to be said of it.
    async fn part(&mut self) -> ApiResult<Bytes> {
        let (rows, stopped) = self.rows().await;
        if !rows.is_empty() {
            self.register(rows).await?;
            self.report.progress();
        }
        match stopped {
            None => Ok(self.report.take()),
            Some(Ok(())) => Ok(self.end(None)),
            Some(Err(error)) => Ok(self.end(Some(ApiError::invalid(format!("{error}."))))),
        }
    }

    fn end(&mut self, error: Option<ApiError>) -> Bytes {
        self.ended = true;
        self.report.summary(error.map(|ApiError(problem)| problem));
        let totals = self.report.totals();
        tracing::info!(target: "audit", tenant = %self.scope.tenant(), ?totals, "devices were registered in bulk");
        self.report.take()
    }

    /// The next chunk, and whether and why it is the last one.
    async fn rows(&mut self) -> (Vec<Row>, Option<Result<(), LinesError>>) {
        let mut rows = Vec::new();
        let mut due: Option<Instant> = None;
        while rows.len() < CHUNK {
            let line = match due {
                None => self.lines.next().await,
                // What was read of a line stays in `lines`.
                Some(due) => match tokio::time::timeout_at(due, self.lines.next()).await {
                    Ok(line) => line,
                    Err(_) => break,
                },
            };
            match line {
                Ok(Some(line)) => rows.push(self.row(line)),
                Ok(None) => return (rows, Some(Ok(()))),
                Err(error) => return (rows, Some(Err(error))),
            }
            if self.report.totals().lines + rows.len() as u64 > MAX_LINES {
                rows.pop();
                return (rows, Some(Err(LinesError::TooMany(MAX_LINES))));
            }
            due.get_or_insert_with(|| Instant::now() + LINGER);
        }
        if Instant::now() > self.until {
            return (rows, Some(Err(LinesError::TooSlow)));
        }
        (rows, None)
    }

    fn row(&self, line: Line) -> Row {
        let parsed = match (&line.text, &self.columns) {
            (None, _) => Err(format!("a line has at most {} bytes.", lines::MAX_LINE)),
            (Some(text), Some(columns)) => columns.device(text).and_then(DeviceNew::check),
            (Some(text), None) => serde_json::from_slice::<DeviceNew>(text)
                .map_err(|error| format!("{error}."))
                .and_then(DeviceNew::check),
        };
        let deps = &self.control.deps;
        let token = (self.tokens && parsed.is_ok())
            .then(|| Token::generate(TokenKind::Device, &*deps.random));
        let device = parsed.map(|mut device| {
            device.token = token.as_ref().map(|token| NewToken {
                credential: CredentialId::from_u128(new_id(&*deps.random, deps.clock.now_us())),
                hash: deps.authenticator.hasher().hash(token.reveal().as_bytes()),
            });
            device
        });
        Row {
            line: line.number,
            device,
            token,
        }
    }

    async fn register(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        let deps = &self.control.deps;
        let devices: Vec<NewDevice> = rows
            .iter()
            .filter_map(|row| row.device.as_ref().ok().cloned())
            .collect();
        let now = deps.clock.now_us();
        let registered = deps
            .store
            .devices(&self.scope)
            .register_many(&devices, now)
            .await?;
        let mut registered = registered.into_iter();
        for row in &rows {
            let outcome = match &row.device {
                Err(why) => Outcome::Invalid(why),
                Ok(device) => match registered.next() {
                    Some(Registered::Created { .. }) => {
                        let token = row.token.as_ref().zip(device.token.as_ref());
                        Outcome::Created(token.map(|(token, new)| Given {
                            credential: new.credential,
                            token: token.reveal(),
                        }))
                    }
                    Some(Registered::OverLimit { most }) => Outcome::OverLimit { most },
                    Some(Registered::Exists) | None => Outcome::Exists,
                },
            };
            let id = row.device.as_ref().ok().map(|device| device.id.as_str());
            self.report.line(row.line, id, outcome);
        }
        Ok(())
    }
}
