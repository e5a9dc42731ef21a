//! Server-sent events.

use crate::rig::Rig;
use crate::rig::client::Sse;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_resumes_after_every_id() {
    let rig = Rig::new(4).await;
    let tenant = rig.tenant(1, 2).await;
    let address = rig.sink(|_| {}).await;
    for n in 0..6 {
        for device in ["a", "b", "c"] {
            rig.append(&tenant, device, [n]).await;
        }
    }
    let name = |event: &serde_json::Value| event["id"].as_str().unwrap().to_owned();
    let all = Sse::open(address, &tenant.key, "?from=earliest", None)
        .await
        .events(18)
        .await;
    for received in 1..18 {
        let mut again = Sse::open(address, &tenant.key, "", Some(&all[received - 1].0)).await;
        let mut rest: Vec<String> = again
            .events(18 - received)
            .await
            .iter()
            .map(|(_, e)| name(e))
            .collect();
        let mut expected: Vec<String> = all[received..].iter().map(|(_, e)| name(e)).collect();
        rest.sort();
        expected.sort();
        assert_eq!(rest, expected, "after {received} events");
    }
    let (id, event) = &all[17];
    let mut live = Sse::open(
        address,
        &tenant.key,
        "?event_types=laneway.position&devices=b",
        Some(id),
    )
    .await;
    rig.append(&tenant, "a", [6]).await;
    rig.append(&tenant, "b", [6]).await;
    assert_eq!(name(&live.next().await.1), "b-6.1");
    for field in [
        "specversion",
        "id",
        "type",
        "source",
        "time",
        "subject",
        "datacontenttype",
        "tenantid",
        "data",
    ] {
        assert!(!event[field].is_null(), "{field} of {event}");
    }
    assert_eq!(event["tenantid"], tenant.id.to_string());
    assert_eq!(event["data"]["recorded_at"], "1970-01-01T00:00:05Z");
}
