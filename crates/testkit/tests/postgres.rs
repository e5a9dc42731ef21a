//! The PostgreSQL server that tests start.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use laneway_testkit::{Postgres, embedded_only};

fn psql(url: &str, sql: &str) -> Result<String> {
    let output = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--set",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
            url,
        ])
        .output()
        .context("running psql (it comes with the server's packages)")?;
    ensure!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[tokio::test]
async fn the_owner_makes_tables_databases_and_roles_and_is_no_superuser() -> Result<()> {
    if embedded_only("testkit: PostgreSQL") {
        return Ok(());
    }
    let server = Postgres::shared().await?;
    let table = format!("made_{}", std::process::id());
    psql(server.url(), &format!("CREATE TABLE {table} (id bigint)"))?;
    psql(server.url(), &format!("CREATE ROLE {table}_role NOLOGIN"))?;
    let superuser = psql(
        server.url(),
        "SELECT rolsuper FROM pg_roles WHERE rolname = current_user",
    )?;
    assert_eq!(superuser, "f");
    let other = server.create_database(&table).await?;
    assert_eq!(psql(&other, "SELECT current_database()")?, table);
    if let Ok(url) = server.superuser_url() {
        assert_eq!(
            psql(
                url,
                "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            )?,
            "t"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_server_is_gone_and_comes_back_with_its_data() -> Result<()> {
    if embedded_only("testkit: a killed PostgreSQL") {
        return Ok(());
    }
    let server = Postgres::start_own().await?;
    psql(
        server.url(),
        "CREATE TABLE kept (id bigint); INSERT INTO kept VALUES (7)",
    )?;
    server.kill()?;
    assert!(
        psql(server.url(), "SELECT 1").is_err(),
        "a killed server still answers"
    );
    server.restart().await?;
    assert_eq!(psql(server.url(), "SELECT id FROM kept")?, "7");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_refused() -> Result<()> {
    if embedded_only("testkit: PostgreSQL passwords") {
        return Ok(());
    }
    let server = Postgres::start_own().await?;
    let wrong = server.url().replacen("for-tests-only", "wrong", 1);
    assert_ne!(wrong, server.url());
    assert!(psql(&wrong, "SELECT 1").is_err());
    Ok(())
}
