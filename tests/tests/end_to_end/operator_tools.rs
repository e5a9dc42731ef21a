//! An operator's own tools read every topic unchanged: Confluent's Python client with its Avro
//! deserializer and a Confluent-compatible registry.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{embedded_only, laneway_binary, servers, trace, wait};
use laneway_tests::deployment::{Deployment, Servers};
use laneway_tests::recompute::recompute;
use laneway_tests::sender::{Pace, Sending};
use laneway_tests::tenant::{Tenant, key};
use serde_json::Value;
use tokio::process::Command;

const BOUND: Duration = Duration::from_secs(180);
/// As scripts/test-servers.sh installs it.
const CLIENT: &str = "confluent-kafka-2.16.0";

#[tokio::test(flavor = "multi_thread")]
async fn confluents_client_decodes_every_topic() -> Result<()> {
    if embedded_only("the operator's tools on every topic") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let servers = Servers::shared("operator_tools", 4).await?;
    let settings = [("LANEWAY_LOG_TOPIC_SETS", "bank".to_owned())];
    let deployment =
        Deployment::distributed_with(&laneway_binary()?, folder.path(), &servers, &settings)
            .await?;
    let trace = trace::generated(3, 60, 5);
    let expected = recompute(&trace);
    let acme = Tenant::create(&deployment, "acme", expected.keys()).await?;
    let own = ["--topics", "bank"];
    let bank = Tenant::create_with(&deployment, "first-bank", &own, expected.keys()).await?;
    let pace = Pace {
        batch: 20,
        concurrency: 3,
        rate: None,
    };
    let mut sending = Sending::new(&deployment, pace);
    for tenant in [&acme, &bank] {
        sending.begin(tenant, trace.clone());
        sending.all().await?;
        wait::until("everything to arrive", BOUND, || async {
            let tally = &tenant.subscriber;
            tally.with_tally(|tally| tally.is_complete(&expected))
        })
        .await?;
    }

    let topics = read_topics(&servers).await?;
    let events = &topics[&format!("{}tenant-events", servers.topic_prefix)];
    only(events, "TenantEvent")?;
    // The shared topics have nothing of the tenant that has its own, and these nothing else.
    for (set, tenant) in [("", &acme), ("bank.", &bank)] {
        let of = |topic: &str| &topics[&format!("{}{set}{topic}", servers.topic_prefix)];
        ensure!(
            of("location-updates")["records"] == trace.len(),
            "{topics:?}"
        );
        ensure!(of("session-events")["records"] == 2 * 3, "{topics:?}");
        ensure!(of("quarantine")["records"] == 0, "{topics:?}");
        only(of("location-updates"), "LocationUpdate")?;
        only(of("session-events"), "SessionEvent")?;
        only(of("processor-state"), "ProcessorState")?;
        derived(of("tenant-streams"), tenant, set.is_empty())?;
    }
    deployment.stop().await
}

/// Records of one name and no other.
fn only(topic: &Value, name: &str) -> Result<()> {
    let names = topic["names"].as_object().context("names")?;
    ensure!(names.keys().eq([name]), "{topic}");
    Ok(())
}

/// A tenant's events, and, where topics are shared, what the processes tell of themselves.
fn derived(streams: &Value, tenant: &Tenant, shared: bool) -> Result<()> {
    let names = streams["names"].as_object().context("names")?;
    for name in ["Position", "SessionStarted", "SessionStopped", "Window"] {
        let sample = &streams["samples"][name];
        ensure!(sample["tenant_id"] == *tenant.id, "no {name} in {streams}");
    }
    let told = names.get("Notice").and_then(Value::as_u64).unwrap_or(0);
    let own = streams["records"].as_u64().context("records")? - told;
    ensure!(
        (told > 0) == shared && own == tenant.subscriber.with_tally(|t| t.events()),
        "{streams}"
    );
    for header in ["ce_id", "ce_source", "ce_specversion", "ce_time", "ce_type"] {
        let headers = streams["headers"].as_array().context("headers")?;
        ensure!(
            headers.iter().any(|h| h == header),
            "no {header} in {streams}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn confluents_client_uses_the_embedded_registry() -> Result<()> {
    if embedded_only("Confluent's client on the embedded registry") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::embedded(&laneway_binary()?, folder.path()).await?;
    deployment.admin(&["tenant", "create", "acme"]).await?;
    let key = key(&deployment, "acme", "tenant:admin").await?;
    let registry = format!("{}/registry", deployment.control.base());
    tool("use_registry.py", &[&registry, &key, "acme"]).await?;
    deployment.stop().await
}

/// What the tool says of each topic.
async fn read_topics(servers: &Servers) -> Result<BTreeMap<String, Value>> {
    let in_each_set = [
        "location-updates",
        "session-events",
        "tenant-streams",
        "quarantine",
        "processor-state",
        "sink-cursors",
    ];
    let of_bank = in_each_set.map(|topic| format!("bank.{topic}"));
    let shared = ["tenant-events", "sink-signals"];
    let topics = in_each_set.into_iter().chain(shared);
    let topics: Vec<String> = topics
        .chain(of_bank.iter().map(String::as_str))
        .map(|topic| format!("{}{topic}", servers.topic_prefix))
        .collect();
    let mut arguments = vec![servers.kafka.as_str(), &servers.registry];
    arguments.extend(topics.iter().map(String::as_str));
    let out = tool("read_topics.py", &arguments).await?;
    out.lines()
        .map(|line| {
            let topic: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let name = topic["topic"].as_str().context("topic")?.to_owned();
            Ok((name, topic))
        })
        .collect()
}

/// What a tool prints that uses Confluent's client.
async fn tool(name: &str, arguments: &[&str]) -> Result<String> {
    let python = servers::cache_folder()?.join(CLIENT).join("bin/python");
    ensure!(
        python.is_file(),
        "{} is not there: run `make test-servers`",
        python.display()
    );
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
    let output = Command::new(python)
        .arg(tools.join(name))
        .args(arguments)
        .output()
        .await
        .context("running the operator's tool")?;
    let failed = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {failed}");
    Ok(String::from_utf8(output.stdout)?)
}
