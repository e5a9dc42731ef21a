//! The table in `docs/access.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::family::CALLERS;

const DOCUMENT: &str = "docs/access.md";
const ROLES: [&str; 3] = ["control", "ingest", "sink"];

/// A method and a path, with the role that serves it.
#[derive(Debug, Clone)]
pub struct Route {
    pub role: &'static str,
    pub method: String,
    pub path: String,
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path as a tenant asks it for itself.
    pub fn own(&self) -> &str {
        let path = self.path.strip_prefix("/tenants/{tenant}");
        path.filter(|rest| !rest.is_empty()).unwrap_or(&self.path)
    }
}

/// Every route of the roles' descriptions.
pub fn routes() -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for role in ROLES {
        let description =
            std::fs::read_to_string(repository(&format!("docs/openapi/{role}.json")))?;
        let description: Value = serde_json::from_str(&description)?;
        let paths = description["paths"].as_object().context("paths")?;
        for (path, item) in paths {
            for method in item.as_object().context("methods")?.keys() {
                let method = method.to_uppercase();
                let path = path.clone();
                routes.push(Route { role, method, path });
            }
        }
    }
    ensure!(routes.len() > 100, "only {} routes", routes.len());
    Ok(routes)
}

/// What each caller gets, by route.
#[derive(Default)]
pub struct Table {
    rows: Vec<(String, Vec<u16>)>,
}

impl Table {
    pub fn push(&mut self, route: &Route, answers: Vec<u16>) {
        self.rows.push((route.name(), answers));
    }

    /// As the document has it.
    pub fn written() -> Result<Self> {
        let document = std::fs::read_to_string(repository(DOCUMENT))?;
        let mut rows = Vec::new();
        for line in document.lines().filter(|line| line.starts_with("| `")) {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let route = cells.next().context("a route")?.trim_matches('`');
            let answers: Result<Vec<u16>, _> = cells.map(str::parse).collect();
            let answers = answers.with_context(|| format!("the line of {route}"))?;
            ensure!(answers.len() == CALLERS.len(), "{route}: {answers:?}");
            rows.push((route.to_owned(), answers));
        }
        Ok(Table { rows })
    }

    /// Where `seen` is not what this one says.
    pub fn differences(&self, seen: &Table) -> Vec<String> {
        let said: BTreeMap<_, _> = self.rows.iter().cloned().collect();
        let mut found: BTreeMap<_, _> = seen.rows.iter().cloned().collect();
        let mut differences = Vec::new();
        for (route, said) in said {
            let Some(found) = found.remove(&route) else {
                differences.push(format!("{route} is none any more"));
                continue;
            };
            for (caller, (said, found)) in CALLERS.iter().zip(said.iter().zip(&found)) {
                if said != found {
                    differences.push(format!("{route} by {caller}: {said} said, {found} found"));
                }
            }
        }
        let missing = found.into_keys();
        differences.extend(missing.map(|route| format!("{route} is missing")));
        differences
    }

    /// Puts the rows in the place of those that the document has.
    pub fn write(&self) -> Result<()> {
        let path = repository(DOCUMENT);
        let document = std::fs::read_to_string(&path)?;
        let prose = document.split("\n| route |").next().unwrap_or_default();
        let mut text = format!("{}\n\n| route |", prose.trim_end());
        for caller in CALLERS {
            text += &format!(" {caller} |");
        }
        text += "\n|---|";
        text += &"---|".repeat(CALLERS.len());
        for (route, answers) in &self.rows {
            text += &format!("\n| `{route}` |");
            for answer in answers {
                text += &format!(" {answer} |");
            }
        }
        std::fs::write(&path, text + "\n")?;
        Ok(())
    }
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}
