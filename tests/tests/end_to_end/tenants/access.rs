//! Every route of every role, asked by every kind of caller: `docs/access.md` says what each gets,
//! and a route that is not in it fails the test.
//!
//! With LANEWAY_WRITE_ACCESS=1 the test writes the table instead, for its difference to be read.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use laneway_testkit::{Database, embedded_only, laneway_binary};
use laneway_tests::deployment::{Deployment, Servers};

use super::family::Family;
use super::table::{Route, Table, routes};
use super::things::Things;

/// Wrong credentials come by the hundred here; and the family has `database` to itself, while the
/// strangers are in the main one, so that nobody learns of that either.
fn settings(database: &str) -> Vec<(&'static str, String)> {
    vec![
        ("LANEWAY_AUTH_FAILURES_PER_ADDRESS", "100000".to_owned()),
        ("LANEWAY_STORE_SHARDS_URLS", format!("apart={database}")),
        ("LANEWAY_STORE_SHARDS_EXCEPTIONS", "acme=apart".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_gets_what_the_table_says_on_the_embedded_default() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let binary = laneway_binary()?;
    let settings = settings("sqlite:{data_dir}/apart.db");
    let deployment = Deployment::embedded_with(&binary, folder.path(), &settings).await?;
    walk(deployment).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_gets_what_the_table_says_where_the_roles_are_apart() -> Result<()> {
    if embedded_only("who may do what where the roles are apart") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("access", 4).await?;
    let apart = Database::Postgres.empty().await?;
    let binary = laneway_binary()?;
    let settings = settings(&apart.url);
    let deployment =
        Deployment::distributed_with(&binary, folder.path(), &servers, &settings).await?;
    walk(deployment).await
}

async fn walk(deployment: Deployment) -> Result<()> {
    let family = Family::settle(&deployment).await?;
    let mut things = Things::make(&deployment, &family).await?;
    let mut seen = Table::default();
    for route in routes()? {
        let mut row = Vec::new();
        for (caller, credentials) in family.callers() {
            row.push(ask(&deployment, &mut things, &route, caller, credentials).await?);
        }
        seen.push(&route, row);
    }
    if std::env::var_os("LANEWAY_WRITE_ACCESS").is_some() {
        seen.write()?;
    }
    let wrong = Table::written()?.differences(&seen);
    ensure!(
        wrong.is_empty(),
        "docs/access.md says otherwise:\n{}",
        wrong.join("\n")
    );
    deployment.stop().await
}

/// The status that a caller gets.
async fn ask(
    deployment: &Deployment,
    things: &mut Things,
    route: &Route,
    caller: &str,
    credentials: &str,
) -> Result<u16> {
    let path = things.path(route, caller).await?;
    let body = things.body(route, caller).map_or(Bytes::new(), Bytes::from);
    let stream = format!("http://{}", deployment.stream_address()?);
    let client = match route.role {
        "ingest" => deployment.ingest.clone(),
        "sink" => laneway_tests::client::Client::new(stream),
        _ => deployment.control.clone(),
    };
    let method = Method::from_bytes(route.method.as_bytes())?;
    let lines = [(header::CONTENT_TYPE, "application/x-ndjson")];
    let headers = if route.own() == "/devices/bulk" {
        &lines[..]
    } else {
        &[]
    };
    let reply = client
        .send_with(method, &path, credentials, headers, body)
        .await?;
    if std::env::var_os("LANEWAY_SHOW_ACCESS").is_some() {
        println!(
            "{caller} {} {path}: {} {}",
            route.method, reply.status, reply.text
        );
    }
    // Whoever may make a backup is told where there is nothing to make one of.
    if route.path == "/operator/backup" && reply.status == StatusCode::CONFLICT {
        return Ok(200);
    }
    Ok(reply.status.as_u16())
}
