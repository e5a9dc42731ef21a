//! The webhook receiver, as a sender sees it.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use laneway_testkit::{Answer, Webhook};

async fn post(url: String, body: &'static str) -> Result<Response<Incoming>> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(url)
        .header("webhook-id", body)
        .body(Full::new(Bytes::from(body)))?;
    Ok(client.request(request).await?)
}

#[tokio::test]
async fn requests_are_recorded_with_headers_and_body_in_order() -> Result<()> {
    let receiver = Webhook::accepting().await?;
    for body in ["first", "second"] {
        assert_eq!(post(receiver.url("/hook?x=1"), body).await?.status(), 200);
    }
    receiver.wait_for(2, Duration::from_secs(5)).await?;
    let received = receiver.take();
    let ids: Vec<&str> = received
        .iter()
        .filter_map(|request| request.headers.get("webhook-id")?.to_str().ok())
        .collect();
    assert_eq!(ids, ["first", "second"]);
    assert!(
        received
            .iter()
            .all(|request| request.path == "/hook?x=1" && request.method == "POST")
    );
    assert!(received[0].arrival <= received[1].arrival);
    assert_eq!((receiver.count(), receiver.received().len()), (2, 0));
    Ok(())
}

#[tokio::test]
async fn answers_follow_the_rule_of_the_moment() -> Result<()> {
    let receiver = Webhook::start(|_, body| match &body[..] {
        b"busy" => Answer::status(503).header("retry-after", "7"),
        _ => Answer::status(204),
    })
    .await?;
    let busy = post(receiver.url("/"), "busy").await?;
    assert_eq!(busy.status(), 503);
    assert_eq!(busy.headers()["retry-after"], "7");
    assert_eq!(post(receiver.url("/"), "fine").await?.status(), 204);
    receiver.answer(|_, _| {
        Answer::status(200)
            .body("late")
            .after(Duration::from_millis(30))
    });
    let late = post(receiver.url("/"), "busy")
        .await?
        .into_body()
        .collect()
        .await?
        .to_bytes();
    assert_eq!(&late[..], b"late");
    assert_eq!((receiver.count(), receiver.accepted()), (3, 2));
    Ok(())
}

#[tokio::test]
async fn too_few_webhooks_fail_at_the_bound_and_say_how_many_came() -> Result<()> {
    let receiver = Webhook::accepting().await?;
    let error = receiver
        .wait_for(1, Duration::from_millis(40))
        .await
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("0 webhooks arrived"),
        "{error:#}"
    );
    Ok(())
}
