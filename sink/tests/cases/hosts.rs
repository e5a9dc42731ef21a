//! Streams under hosts and paths that name a tenant.

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_opens_under_its_own_tenants_names_and_under_no_others() {
    let rig = Rig::new(4).await;
    let acme = rig.tenant(1, 2).await;
    let other = rig.tenant(2, 2).await;
    let hosts = rig.directory.hosts();
    hosts.set_host(&"tracks.acme.example".parse().unwrap(), acme.id);
    hosts.set_host(&"tracks.other.example".parse().unwrap(), other.id);
    let address = rig.sink(|_| {}).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let ask = async |path: &str, host: &str, websocket: bool| {
        let mut request = Request::get(format!("http://{address}{path}"))
            .header("host", host)
            .header("authorization", format!("Bearer {}", acme.key));
        if websocket {
            request = request
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        } else {
            request = request.header("accept", "text/event-stream");
        }
        let request = request.body(Empty::new()).unwrap();
        client.request(request).await.unwrap()
    };
    for (path, host) in [
        ("/stream", "localhost"),
        ("/t/tenant-1/stream", "localhost"),
        ("/stream", "tracks.acme.example"),
    ] {
        assert_eq!(ask(path, host, false).await.status(), StatusCode::OK);
        let opened = ask(path, host, true).await.status();
        assert_eq!(opened, StatusCode::SWITCHING_PROTOCOLS);
    }
    for (path, host) in [
        ("/stream", "tracks.other.example"),
        ("/t/tenant-2/stream", "localhost"),
        ("/t/nobody/stream", "localhost"),
        ("/t/tenant-2/stream", "tracks.acme.example"),
    ] {
        for websocket in [false, true] {
            let refused = ask(path, host, websocket).await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path} at {host}");
            let body = refused.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let kind = "https://laneway.dev/problems/tenant-mismatch";
            assert_eq!(body["type"], kind, "{path} at {host}");
        }
    }
}
