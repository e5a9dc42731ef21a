//! Dead letters: what is refused while others succeed is parked, and delivered again when it is
//! asked for.

use laneway_log::{Records, Topic};
use laneway_schemas::sink::{DeadLetter, dead_letter_key, redrive_key};
use laneway_schemas::{DestinationRedrive, SinkCursor};
use laneway_sink::settings::DeliverySettings;
use laneway_testkit::{Answer, Webhook, wait};

use super::delivery::{accepted, all_accepted, first};
use crate::rig::receivers::{Receivers, settings};
use crate::rig::{BOUND, Rig, Tenant};

fn quick() -> DeliverySettings {
    DeliverySettings {
        park_after: 3,
        ..settings()
    }
}

/// Refuses the events with these ids.
async fn refusing(ids: &'static [&'static str]) -> Webhook {
    Webhook::start(move |head, _| {
        let id = head.headers["webhook-id"].to_str().unwrap();
        Answer::status(if ids.contains(&id) { 422 } else { 200 })
    })
    .await
    .unwrap()
}

async fn letter(rig: &Rig, tenant: &Tenant, event: &str) -> Option<DeadLetter> {
    let key = dead_letter_key(tenant.id, first(), event);
    let value = rig.table(Topic::SinkCursors, 0).await.remove(&key)?;
    let record: SinkCursor = rig.codecs.decode(&value).unwrap();
    Some(serde_json::from_str(&record.dead.unwrap()).unwrap())
}

/// Others succeed until this one is in the dead letters.
pub(super) async fn parked(rig: &Rig, tenant: &Tenant, event: &str) -> DeadLetter {
    let mut n = 0;
    loop {
        rig.append(tenant, "other", [n]).await;
        n += 1;
        if let Some(letter) = letter(rig, tenant, event).await {
            return letter;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

pub(super) async fn redrive(rig: &Rig, tenant: &Tenant, event: Option<&str>, requested_at: i64) {
    let request = DestinationRedrive {
        tenant_id: tenant.id.to_string(),
        destination_id: first().to_string(),
        event_id: event.map(str::to_owned),
        lane: event.map(|_| 0),
        requested_at,
    };
    let mut value = Vec::new();
    rig.codecs.encode(&request, &mut value).unwrap();
    let key = redrive_key(tenant.id, first(), event);
    let mut records = Records::new();
    records.push(Topic::SinkSignals, 0, 1, key.as_bytes(), [], &value);
    rig.log.append(records).await.unwrap();
}

pub(super) async fn gone(rig: &Rig, tenant: &Tenant, event: &str) {
    wait::until("the dead letter to be removed", BOUND, || async {
        letter(rig, tenant, event).await.is_none()
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_refused_while_others_succeed_is_parked() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = refusing(&["a-3.1"]).await;
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let running = rig.deliver(&receivers, quick());
    rig.append(&tenant, "a", 0..6).await;
    let letter = parked(&rig, &tenant, "a-3.1").await;
    assert!(&*letter.device == "a" && letter.attempts >= 3, "{letter:?}");
    assert!(letter.reason.contains("422"), "{}", letter.reason);
    wait::until("the device to go on", BOUND, || async {
        accepted(&receiver)["a"].len() == 5
    })
    .await
    .unwrap();
    let expected = ["a-0.1", "a-1.1", "a-2.1", "a-4.1", "a-5.1"];
    assert_eq!(accepted(&receiver)["a"], expected);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_asked_for_is_delivered_once_under_its_id_also_after_a_kill() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = refusing(&["a-1.1", "a-3.1"]).await;
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let running = rig.deliver(&receivers, quick());
    rig.append(&tenant, "a", 0..6).await;
    parked(&rig, &tenant, "a-1.1").await;
    let last = parked(&rig, &tenant, "a-3.1").await;

    // One that was parked later than the request is not meant by it.
    redrive(&rig, &tenant, None, last.parked_at - 1).await;
    let again = |event: &'static str, earlier: i64| {
        let (rig, tenant) = (&rig, &tenant);
        move || async move {
            let letter = letter(rig, tenant, event).await;
            letter.is_some_and(|l| l.parked_at > earlier)
        }
    };
    wait::until(
        "the refusal to be parked anew",
        BOUND,
        again("a-1.1", last.parked_at),
    )
    .await
    .unwrap();
    assert_eq!(letter(&rig, &tenant, "a-3.1").await, Some(last));

    running.kill().await;
    receiver.answer(|_, _| Answer::status(200));
    let asked_at = letter(&rig, &tenant, "a-1.1").await.unwrap().parked_at;
    redrive(&rig, &tenant, Some("a-3.1"), asked_at).await;
    let running = rig.deliver(&receivers, quick());
    gone(&rig, &tenant, "a-3.1").await;
    assert!(letter(&rig, &tenant, "a-1.1").await.is_some());
    wait::until("the request to be removed", BOUND, || async {
        let key = redrive_key(tenant.id, first(), Some("a-3.1"));
        !rig.table(Topic::SinkSignals, 0).await.contains_key(&key)
    })
    .await
    .unwrap();
    redrive(&rig, &tenant, None, asked_at).await;
    gone(&rig, &tenant, "a-1.1").await;
    let ids = accepted(&receiver).remove("a").unwrap();
    for event in ["a-1.1", "a-3.1"] {
        assert_eq!(ids.iter().filter(|id| *id == event).count(), 1, "{ids:?}");
    }
    running.stop().await;
    // Nothing is left to be redriven by another start.
    let (count, accepted) = (receiver.count(), receiver.accepted());
    let running = rig.deliver(&receivers, quick());
    rig.append(&tenant, "last", [0]).await;
    all_accepted(&receiver, accepted + 1).await;
    let since = receiver.received().split_off(count);
    let device = |of: &laneway_testkit::webhook::Received| {
        let id = of.headers["webhook-id"].to_str().unwrap();
        id.split('-').next().unwrap().to_owned()
    };
    assert!(since.iter().all(|r| device(r) != "a"), "{since:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_dead_letters_are_full_the_device_waits_and_nothing_is_lost() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    rig.destination(&tenant, first(), true).await;
    let receiver = refusing(&["a-0.1", "b-0.1"]).await;
    let receivers = Receivers::new([(first(), receiver.url("/"))]);
    let full = DeliverySettings {
        dead_letters: 1,
        ..quick()
    };
    let running = rig.deliver(&receivers, full);
    rig.append(&tenant, "a", 0..2).await;
    parked(&rig, &tenant, "a-0.1").await;
    rig.append(&tenant, "b", 0..2).await;
    let tries = || {
        let received = receiver.received();
        let of_b = received
            .iter()
            .filter(|r| r.headers["webhook-id"] == "b-0.1");
        of_b.count()
    };
    let mut n = 100;
    while tries() < 10 {
        rig.append(&tenant, "other", [n]).await;
        n += 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(letter(&rig, &tenant, "b-0.1").await.is_none());
    assert!(!accepted(&receiver).contains_key("b"));
    receiver.answer(|_, _| Answer::status(200));
    wait::until("the device to go on", BOUND, || async {
        accepted(&receiver)
            .get("b")
            .is_some_and(|ids| ids == &["b-0.1", "b-1.1"])
    })
    .await
    .unwrap();
    running.stop().await;
}
