//! A key that is revoked ends what was opened with it.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;

use crate::rig::Rig;
use crate::rig::client::{Sse, Subscriber, get};

/// From the control change to the end of the connections.
const SOON: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_its_streams_at_once_and_opens_no_other() {
    let rig = Rig::new(1).await;
    let (tenant, other) = (rig.tenant(1, 1).await, rig.tenant(2, 1).await);
    let address = rig.sink(|_| {}).await;
    let mut socket = Subscriber::open(address, &tenant.key, json!("live")).await;
    let mut waiting = Subscriber::connect(address, &tenant.key).await;
    let mut sse = Sse::open(address, &tenant.key, "?from=live", None).await;
    let mut foreign = Subscriber::open(address, &other.key, json!("live")).await;
    socket.next("subscribed").await;
    foreign.next("subscribed").await;

    let revoked = Instant::now();
    rig.revoke_key(&tenant).await;
    for socket in [&mut socket, &mut waiting] {
        let (code, reason) = socket.closed().await;
        assert_eq!(code, 4401);
        assert!(reason.contains("key"), "{reason}");
    }
    let problem = sse.error().await;
    assert_eq!(
        problem["type"],
        "https://laneway.dev/problems/credentials-changed"
    );
    assert!(sse.ended().await);
    assert!(revoked.elapsed() < SOON, "{:?}", revoked.elapsed());

    let again = get(address, &tenant.key, "", None).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    rig.append(&other, "b", [0]).await;
    foreign.next("event").await;
}
