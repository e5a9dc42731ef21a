//! Nothing is confirmed before it is durable.

use std::time::Duration;

use http::StatusCode;
use laneway_log::{LogError, Topic};
use laneway_tenancy::control::Limits;

use crate::log::Outage;
use crate::rig::Rig;

const FIX: &str = r#"{"recorded_at":1795226838500,"lat":1,"lon":2}"#;
const REQUESTS: [(&str, &str); 3] = [
    ("/location/update", FIX),
    ("/location/session/start", ""),
    ("/location/session/s/stop", ""),
];

#[tokio::test]
async fn an_append_that_is_not_acknowledged_is_not_confirmed() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    rig.log.set(Outage::NeverAnswers);
    for (path, body) in REQUESTS {
        // What has to be absent is an answer; the bound only says how long to look for one.
        let answer =
            tokio::time::timeout(Duration::from_millis(300), rig.post(&device, path, body)).await;
        assert!(answer.is_err(), "{path} was answered before it was durable");
    }
    rig.log.set(Outage::None);
    // An unconfirmed start is not remembered as one.
    let start = rig
        .post(&device, "/location/session/start", r#"{"session_id":"s"}"#)
        .await;
    assert_eq!(start.status, StatusCode::CREATED);
}

#[tokio::test]
async fn trouble_with_the_log_is_told_apart_and_says_when_to_try_again() {
    let rig = Rig::start().await;
    let tenant = rig.tenant("acme", Limits::default()).await;
    let device = rig.device(&tenant, "truck-1").await;
    let outages = [
        (
            LogError::Unavailable {
                doing: "appending",
                reason: "no leader".to_owned(),
            },
            "log-unavailable",
        ),
        (LogError::Busy { queued_bytes: 7 }, "log-busy"),
        (
            LogError::Full {
                path: "/somewhere".to_owned(),
                reason: "full".to_owned(),
            },
            "log-full",
        ),
        (LogError::Closed, "log-unavailable"),
        (LogError::Fatal("broken".to_owned()), "log-unavailable"),
    ];
    for (error, kind) in outages {
        rig.log.set(Outage::Fails(error));
        for (path, body) in REQUESTS {
            let reply = rig.post(&device, path, body).await;
            assert_eq!(
                (reply.status, reply.kind()),
                (StatusCode::SERVICE_UNAVAILABLE, kind),
                "{path}"
            );
            assert!(reply.retry_after().is_some_and(|seconds| seconds >= 1));
            assert!(
                !reply.json.to_string().contains("somewhere"),
                "tells a client about the disk"
            );
        }
    }
    rig.log.set(Outage::Fails(LogError::TooLarge {
        topic: Topic::LocationUpdates,
        bytes: 2,
        limit: 1,
    }));
    assert_eq!(
        rig.update(&device, FIX).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    // A batch of which nothing is accepted needs no log.
    assert_eq!(
        rig.update(&device, "{}").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    rig.log.set(Outage::None);
    assert_eq!(rig.update(&device, FIX).await.status, StatusCode::OK);
}
