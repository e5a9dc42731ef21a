//! Against a real Confluent-compatible registry.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use laneway_schemas::{
    CONTRACTS, Codecs, ConfluentRegistry, Contract, LocationUpdate, Registry, RegistryError, Window,
};
use laneway_testkit::{Registry as RegistryServer, embedded_only};

const TIMEOUT: Duration = Duration::from_secs(10);

async fn registry() -> Result<Option<Arc<ConfluentRegistry>>> {
    if embedded_only("schemas in a real registry") {
        return Ok(None);
    }
    let url = RegistryServer::shared().await?.url().to_owned();
    Ok(Some(Arc::new(ConfluentRegistry::new(
        &[url],
        None,
        TIMEOUT,
    )?)))
}

fn window() -> Window {
    Window {
        entity_id: "e".into(),
        revision: 1,
        tenant_id: "ten_0".into(),
        device_id: "d".into(),
        window_start: 0,
        window_end: 60_000_000,
        fixes: 2,
        distance_m: 12.5,
        max_speed_mps: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_every_contract_and_a_reader_finds_the_writers_schema() -> Result<()> {
    let Some(registry) = registry().await? else {
        return Ok(());
    };
    let writer = Codecs::new(Arc::clone(&registry) as Arc<dyn Registry>);
    writer.register("schemas-roundtrip.").await?;
    writer
        .register("schemas-roundtrip.")
        .await
        .context("registering again changes nothing")?;
    let mut wire = Vec::new();
    writer.encode(&window(), &mut wire)?;
    let reader = Codecs::new(registry);
    assert_eq!(reader.decode_loading::<Window>(&wire).await?, window());
    assert!(CONTRACTS.iter().any(|c| c.name == Window::NAME));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incompatible_writer_is_told_which_subject_is_refused() -> Result<()> {
    let Some(registry) = registry().await? else {
        return Ok(());
    };
    let subject = "schemas-incompatible.location-updates-io.laneway.LocationUpdate";
    let mut other: serde_json::Value = serde_json::from_str(LocationUpdate::SCHEMA)?;
    other["fields"][0]["type"] = "long".into();
    registry.register(subject, &other.to_string()).await?;
    let error = Codecs::new(registry)
        .register("schemas-incompatible.")
        .await
        .expect_err("it has to be refused");
    assert!(
        matches!(error, RegistryError::Incompatible { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(subject), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_id_is_told_from_a_registry_that_is_away() -> Result<()> {
    let Some(registry) = registry().await? else {
        return Ok(());
    };
    assert!(matches!(
        registry.schema(1_000_000).await,
        Err(RegistryError::UnknownId { .. })
    ));
    let away = ConfluentRegistry::new(&["http://127.0.0.1:9".to_owned()], None, TIMEOUT)?;
    assert!(matches!(
        away.schema(1).await,
        Err(RegistryError::Unavailable { .. })
    ));
    Ok(())
}
