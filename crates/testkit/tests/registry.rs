//! The schema registry that tests start.

use anyhow::Result;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use laneway_testkit::{Registry, embedded_only};

async fn call(method: &str, url: String, body: &str) -> Result<(u16, String)> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
    let response = client.request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

fn schema(fields: &str) -> String {
    let record = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    serde_json::json!({ "schema": record }).to_string()
}

#[tokio::test]
async fn schemas_are_registered_listed_and_refused_when_incompatible() -> Result<()> {
    if embedded_only("testkit: the schema registry") {
        return Ok(());
    }
    let registry = Registry::shared().await?;
    let subject = format!("testkit-{}-value", std::process::id());
    let versions = format!("{}/subjects/{subject}/versions", registry.url());
    let (status, body) = call(
        "POST",
        versions.clone(),
        &schema(r#"{"name":"a","type":"long"}"#),
    )
    .await?;
    assert_eq!(status, 200, "{body}");
    let (status, body) = call("GET", format!("{}/subjects", registry.url()), "").await?;
    assert_eq!(status, 200);
    assert!(body.contains(&subject), "{body}");
    let (status, body) = call("POST", versions, &schema(r#"{"name":"b","type":"long"}"#)).await?;
    assert_eq!(
        status, 409,
        "a field without a default is not backward compatible: {body}"
    );
    Ok(())
}
