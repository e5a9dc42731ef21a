//! Tenants that share a lane, and tokens of others.

use http::StatusCode;
use http_body_util::BodyExt;
use laneway_log::Topic;
use laneway_testkit::wait;
use serde_json::json;

use crate::rig::client::{Subscriber, get, ids};
use crate::rig::{BOUND, Rig};
use laneway_sink::position::{LanePosition, TokenKey};

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_tenant_in_the_same_lane_is_never_seen() {
    let rig = Rig::new(1).await;
    let (mine, theirs) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let address = rig.sink(|_| {}).await;
    let mut first = Subscriber::open(address, &mine.key, json!("live")).await;
    first.next("subscribed").await;
    for n in 0..50 {
        rig.append(&mine, "mine", [n]).await;
        rig.append(&theirs, "theirs", [n]).await;
    }
    let mut history = Subscriber::open(address, &mine.key, json!("earliest")).await;
    // The tail is where the next one starts to be live.
    first.events(50).await;
    let mut live = Subscriber::open(address, &mine.key, json!("live")).await;
    live.next("subscribed").await;
    for n in 50..100 {
        rig.append(&theirs, "theirs", [n]).await;
        rig.append(&mine, "mine", [n]).await;
    }
    let expected = |from: i64| {
        (from..100)
            .map(|n| format!("mine-{n}.1"))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&history.events(100).await), expected(0));
    assert_eq!(ids(&live.events(50).await), expected(50));
    history.assert_silent().await;
    live.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_tenant_is_refused_like_any_wrong_one() {
    let rig = Rig::new(1).await;
    let (mine, theirs) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let address = rig.sink(|_| {}).await;
    let place = [LanePosition {
        generation: 1,
        lane: 0,
        next: 0,
    }];
    let key = TokenKey::new(crate::rig::TOKEN_KEY).unwrap();
    let mut answers = Vec::new();
    for token in [
        key.seal(&theirs.scope, &place),
        "v1.AAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    ] {
        let response = get(address, &mine.key, "", Some(&token)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        answers.push(response.into_body().collect().await.unwrap().to_bytes());
        let mut socket = Subscriber::open(address, &mine.key, json!({ "token": token })).await;
        assert_eq!(socket.next("error").await["problem"]["status"], 403);
        assert!(socket.message().await.is_null());
    }
    assert_eq!(answers[0], answers[1]);
    let own = get(address, &mine.key, "", Some(&key.seal(&mine.scope, &place))).await;
    assert_eq!(own.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_no_stream() {
    let rig = Rig::new(1).await;
    let address = rig.sink(|_| {}).await;
    assert_eq!(
        get(address, "lwk_wrong", "", None).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let tenant = rig.tenant(1, 1).await;
    let in_url = get(address, &tenant.key, "?access_token=abc", None).await;
    assert_eq!(in_url.status(), StatusCode::BAD_REQUEST);
    let nowhere = get(address, &tenant.key, "/other", None).await;
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_sink_can_have_processes_of_its_own() {
    let rig = Rig::new(1).await;
    let tenant = rig.tenant(1, 1).await;
    let begun = async |group: &str| {
        let committed = rig.log.committed(group, Topic::TenantStreams).await;
        committed.unwrap().iter().all(Option::is_some)
    };
    let streams = rig
        .sink(|settings| {
            settings.delivery.enabled = false;
            settings.delivery.commit_ms = 10;
            settings.projection.enabled = false;
        })
        .await;
    rig.append(&tenant, "a", 0..3).await;
    let mut subscriber = Subscriber::open(streams, &tenant.key, json!("earliest")).await;
    subscriber.events(3).await;
    assert!(!begun("sink").await && !begun("projection").await);
    let others = rig.sink(|settings| settings.stream.enabled = false).await;
    let none = get(others, &tenant.key, "", None).await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
    for group in ["sink", "projection"] {
        wait::until(group, BOUND, || begun(group)).await.unwrap();
    }
    rig.append(&tenant, "a", 3..6).await;
    assert_eq!(
        ids(&subscriber.events(3).await),
        ["a-3.1", "a-4.1", "a-5.1"]
    );
}
