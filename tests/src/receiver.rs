//! A webhook receiver as a partner would write one: verifies the signature (Standard Webhooks),
//! remembers ids, tallies what it got.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use laneway_testkit::{Answer, Webhook};

use crate::tally::Tally;

pub struct Receiver {
    pub tally: Arc<Mutex<Tally>>,
    pub failures: Arc<Mutex<Vec<String>>>,
    secret: Arc<Mutex<Option<hmac::Key>>>,
    webhook: Webhook,
}

impl Receiver {
    /// Every event has to be of this tenant.
    pub async fn start(tenant: &str) -> Result<Self> {
        let tally = Arc::new(Mutex::new(Tally::of_tenant(tenant)));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let secret = Arc::new(Mutex::new(None));
        let webhook = Webhook::accepting().await?;
        let (to, bad, key) = (
            Arc::clone(&tally),
            Arc::clone(&failures),
            Arc::clone(&secret),
        );
        webhook.answer(move |head, body| match receive(head, body, &to, &key) {
            Ok(()) => Answer::status(204),
            Err(error) => {
                lock(&bad).push(format!("{error:#}"));
                Answer::status(400)
            }
        });
        Ok(Receiver {
            tally,
            failures,
            secret,
            webhook,
        })
    }

    pub fn url(&self) -> String {
        self.webhook.url("/hook")
    }

    /// `whsec_…`, as the destination's creation answered.
    pub fn trust(&self, secret: &str) -> Result<()> {
        let encoded = secret
            .strip_prefix("whsec_")
            .context("a secret begins with whsec_")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(encoded)?);
        *lock(&self.secret) = Some(key);
        Ok(())
    }

    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    pub fn failures(&self) -> Vec<String> {
        lock(&self.failures).clone()
    }
}

fn receive(
    head: &Parts,
    body: &Bytes,
    tally: &Mutex<Tally>,
    key: &Mutex<Option<hmac::Key>>,
) -> Result<()> {
    let header = |name: &str| {
        head.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .with_context(|| format!("a delivery without {name}"))
    };
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let mut signed = format!("{id}.{timestamp}.").into_bytes();
    signed.extend_from_slice(body);
    let key = lock(key)
        .clone()
        .context("a delivery before the secret was known")?;
    let verified = header("webhook-signature")?.split(' ').any(|signature| {
        signature
            .strip_prefix("v1,")
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok())
    });
    ensure!(verified, "the signature of {id} is wrong");
    let event: serde_json::Value = serde_json::from_slice(body).context("the body is not JSON")?;
    ensure!(event["id"] == id, "the webhook-id {id} is not the event's");
    lock(tally).add(&event)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
