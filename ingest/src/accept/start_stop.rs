//! Sessions' starts and stops. Sending one again is safe, and cheap where this node remembers.

use laneway_log::Records;
use laneway_schemas::SessionAction;
use laneway_tenancy::{Authenticated, SessionId, new_id};

use super::check::check_id;
use super::device::Sender;
use super::record::{Encoder, Place, SessionEventRef};
use super::sessions::SessionKey;
use super::{Accept, Refused};
use crate::wire::{Attributes, SessionStart, SessionStop};

/// Which end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionMoment {
    Start,
    Stop,
}

/// What becomes of a start or a stop, once it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionAnswer {
    pub session_id: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// This node has seen it before.
    pub repeated: bool,
}

/// A start or a stop, checked.
struct Change<'a> {
    device: &'a str,
    session: &'a str,
    moment: SessionMoment,
    /// As the client says; the time of receipt where it does not.
    at: Option<i64>,
    attributes: &'a Attributes<'a>,
}

impl Accept {
    /// Starts a session, under a new id where none is given. Resolves once it is durable.
    pub async fn start(
        &self,
        who: &Authenticated,
        start: SessionStart<'_>,
    ) -> Result<SessionAnswer, Refused> {
        self.catch_up(who, start.device.as_deref().into_iter())
            .await?;
        let sender = Sender::of(who, &self.directory)?;
        self.same_tenant(who, start.tenant.as_deref())?;
        let device = sender
            .device(start.device.as_deref())
            .map_err(Refused::Invalid)?;
        let session = match start.session.as_deref() {
            Some(given) => given.to_owned(),
            None => uuid::Uuid::from_u128(new_id(&*self.random, self.clock.now_us()))
                .simple()
                .to_string(),
        };
        let change = Change {
            device,
            session: &session,
            moment: SessionMoment::Start,
            at: start.started_at,
            attributes: &start.attributes,
        };
        self.change(who, &sender, change).await
    }

    /// Stops a session, whether or not its start was seen. Resolves once it is durable.
    pub async fn stop(
        &self,
        who: &Authenticated,
        session: &str,
        stop: SessionStop<'_>,
    ) -> Result<SessionAnswer, Refused> {
        self.catch_up(who, stop.device.as_deref().into_iter())
            .await?;
        let sender = Sender::of(who, &self.directory)?;
        self.same_tenant(who, stop.tenant.as_deref())?;
        let device = sender
            .device(stop.device.as_deref())
            .map_err(Refused::Invalid)?;
        let change = Change {
            device,
            session,
            moment: SessionMoment::Stop,
            at: stop.stopped_at,
            attributes: &stop.attributes,
        };
        self.change(who, &sender, change).await
    }

    async fn change(
        &self,
        who: &Authenticated,
        sender: &Sender<'_>,
        change: Change<'_>,
    ) -> Result<SessionAnswer, Refused> {
        let Change {
            device,
            session,
            moment,
            at,
            attributes,
        } = change;
        check_id("session_id", session, SessionId::MAX, SessionId::is_valid)
            .map_err(Refused::Invalid)?;
        let received_at = self.clock.now_us();
        let tenant = who.scope.tenant();
        self.check_quotas(who, received_at)?;
        self.limiter
            .admit(tenant, &[(device, 1)], &who.tenant.body.limits, received_at)
            .map_err(|limited| {
                self.metrics.rate_limited.increment(1);
                Refused::RateLimited(limited)
            })?;
        let key = SessionKey::new(tenant, device, session);
        let known = match moment {
            SessionMoment::Start => self.sessions.started(key),
            SessionMoment::Stop => self.sessions.stopped(key),
        };
        let answer = |at, repeated| SessionAnswer {
            session_id: session.to_owned(),
            at,
            repeated,
        };
        if let Some(known) = known
            && at.is_none_or(|at| at == known)
        {
            return Ok(answer(known, true));
        }
        let at = at.unwrap_or(received_at);
        let place = Place::of(who, device);
        let mut records = Records::new();
        let event = SessionEventRef {
            tenant_id: place.tenant(),
            device_id: device,
            session_id: session,
            action: match moment {
                SessionMoment::Start => SessionAction::Start,
                SessionMoment::Stop => SessionAction::Stop,
            },
            at,
            received_at,
            attributes,
            control_version: sender.control_version(who),
        };
        Encoder {
            codecs: &self.codecs,
            received_at,
        }
        .session(&mut records, &place, &event)?;
        let admission = self.take_quotas(who, &records, received_at)?;
        self.append(records, admission).await?;
        match moment {
            SessionMoment::Start => self.sessions.remember_start(key, at),
            SessionMoment::Stop => self.sessions.remember_stop(key, at),
        }
        Ok(answer(at, known.is_some()))
    }
}
