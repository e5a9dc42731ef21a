//! `laneway admin audit`: lists, exports and verifies audit trails.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use laneway_store::audit::{Verified, Verifier};
use serde_json::{Value, json};

use super::ask::Api;
use super::command::Of;
use crate::client::segment;

const COLUMNS: [&str; 7] = [
    "seq",
    "at",
    "principal",
    "action",
    "target",
    "outcome",
    "count",
];

#[derive(Debug, Subcommand)]
pub enum Audit {
    List {
        #[command(flatten)]
        of: Of,
        /// Of this time (RFC 3339) or later.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Before this time.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Method and route, such as `POST /devices`.
        #[arg(long)]
        action: Option<String>,
        /// Such as key:key_….
        #[arg(long)]
        principal: Option<String>,
    },
    /// Print a trail as JSON lines, with all that is needed to verify it.
    Export {
        #[command(flatten)]
        of: Of,
    },
    /// Check that nothing of a trail was changed, removed or put in; without a tenant, of all
    /// trails that the operator may read.
    Verify {
        #[command(flatten)]
        of: Of,
        /// A last hash that was noted before, which has to be in the trail.
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
        /// What was exported before; nothing is asked of the server.
        #[arg(long, value_name = "FILE", conflicts_with = "tenant")]
        file: Option<PathBuf>,
    },
}

pub async fn run(api: &mut Api, command: Audit) -> anyhow::Result<()> {
    match command {
        Audit::List {
            of,
            since,
            until,
            action,
            principal,
        } => {
            let mut query = String::from("?");
            for (name, value) in [
                ("since", since),
                ("until", until),
                ("action", action),
                ("principal", principal),
            ] {
                if let Some(value) = value {
                    query.push_str(&format!("{name}={}&", segment(&value)));
                }
            }
            let query = query.trim_end_matches(['?', '&']);
            api.list(&of.path(&format!("/audit{query}")), &COLUMNS)
                .await
        }
        Audit::Export { of } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let path = of.path("/audit/export");
            api.lines(&path, |line| Ok(writeln!(out, "{line}")?))
                .await?;
            out.flush().context("writing the trail")
        }
        Audit::Verify { of, head, file } => match file {
            Some(file) => {
                let verified = of_file(&file, head.as_deref())?;
                api.print(&shown(&verified, "exported"))
            }
            None => verify(api, of, head.as_deref()).await,
        },
    }
}

/// One trail; without a tenant all of them where an operator asks, else the asker's own.
async fn verify(api: &mut Api, of: Of, head: Option<&str>) -> anyhow::Result<()> {
    let all = match of.tenant {
        None => api.tenants().await?,
        Some(_) => None,
    };
    let Some(tenants) = all else {
        let whose = of.tenant.clone().unwrap_or_else(|| "own".to_owned());
        let verified = exported(api, &of, head).await;
        let verified = verified.with_context(|| format!("the audit trail of {whose} is broken"))?;
        return api.print(&shown(&verified, &whose));
    };
    anyhow::ensure!(
        head.is_none(),
        "a hash is of one trail: name its tenant with --tenant"
    );
    let mut verified = Vec::new();
    let mut broken = Vec::new();
    for tenant in tenants {
        let of = Of {
            tenant: Some(tenant.clone()),
        };
        match exported(api, &of, None).await {
            Ok(chain) => verified.push(shown(&chain, &tenant)),
            Err(error) => broken.push(format!("{tenant}: {error:#}")),
        }
    }
    api.print_all(&verified, &["tenant", "entries", "head"]);
    anyhow::ensure!(
        broken.is_empty(),
        "audit trails are broken: {}",
        broken.join("; ")
    );
    Ok(())
}

async fn exported(api: &mut Api, of: &Of, head: Option<&str>) -> anyhow::Result<Verified> {
    let mut verifier = Verifier::new(head);
    let path = of.path("/audit/export");
    api.lines(&path, |line| Ok(verifier.line(line)?)).await?;
    Ok(verifier.finish()?)
}

fn of_file(path: &Path, head: Option<&str>) -> anyhow::Result<Verified> {
    let reading = || format!("reading {}", path.display());
    let file = File::open(path).with_context(reading)?;
    let mut verifier = Verifier::new(head);
    for line in BufReader::new(file).lines() {
        verifier
            .line(&line.with_context(reading)?)
            .with_context(|| format!("the audit trail in {} is broken", path.display()))?;
    }
    Ok(verifier.finish()?)
}

fn shown(verified: &Verified, tenant: &str) -> Value {
    json!({"tenant": tenant, "entries": verified.entries, "head": verified.head})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_file_that_was_changed_is_refused_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trail.jsonl");
        std::fs::write(&path, "").unwrap();
        assert_eq!(of_file(&path, None).unwrap().entries, 0);
        std::fs::write(&path, "{}\n").unwrap();
        let error = format!("{:#}", of_file(&path, None).unwrap_err());
        assert!(error.contains("trail.jsonl is broken: line 1"), "{error}");
    }
}
