//! Layers: the defaults, a file over them, the environment over that. All that is wrong is
//! found at once, each with the key it is about and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::keys::{self, Key, closest, type_name};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "the defaults"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<String>);

impl Problems {
    pub fn add(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not valid:")?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

/// The layers on top of each other.
pub struct Layers {
    keys: Vec<Key>,
    defaults: Table,
    set: BTreeMap<String, (Value, Origin)>,
    pub problems: Problems,
}

impl Layers {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Layers {
            keys: keys::keys()?,
            defaults: keys::defaults()?,
            set: BTreeMap::new(),
            problems: Problems::default(),
        })
    }

    pub fn file(&mut self, path: &Path, text: &str) {
        let origin = Origin::File(path.to_owned());
        match text.parse::<Table>() {
            Ok(table) => self.table("", &table, &origin),
            Err(error) => self.problems.add(format!("{origin} is not TOML: {error}")),
        }
    }

    fn table(&mut self, prefix: &str, table: &Table, origin: &Origin) {
        for (name, value) in table {
            let path = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match (value, keys::lookup(&self.defaults, &path)) {
                (Value::Table(inner), Some(Value::Table(_))) => self.table(&path, inner, origin),
                (_, Some(Value::Table(_))) => self.problems.add(format!(
                    "{path} (from {origin}) is a section, not a value: write [{path}] and its keys below"
                )),
                (value, Some(default)) => match like(default, value.clone()) {
                    Some(value) => {
                        self.set.insert(path, (value, origin.clone()));
                    }
                    None => self.problems.add(format!(
                        "{path} (from {origin}) must be {}, not {}",
                        type_name(default),
                        type_name(value)
                    )),
                },
                (_, None) => {
                    let hint = hint(closest(&path, self.names()));
                    self.problems.add(format!("{path} (from {origin}) is no known key{hint}"));
                }
            }
        }
    }

    /// Paths of keys and of sections.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().flat_map(|key| {
            let section = key.path.rsplit_once('.').map(|(section, _)| section);
            std::iter::once(key.path.as_str()).chain(section)
        })
    }

    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, text) in variables {
            if !name.starts_with("LANEWAY_") || keys::is_other_variable(&name) {
                continue;
            }
            let Some(key) = self.keys.iter().find(|key| key.variable == name) else {
                let hint = hint(closest(
                    &name,
                    self.keys.iter().map(|key| key.variable.as_str()),
                ));
                self.problems.add(format!(
                    "the environment variable {name} belongs to no known key{hint}"
                ));
                continue;
            };
            match parse_like(&key.default, &text) {
                Some(value) => {
                    self.set
                        .insert(key.path.clone(), (value, Origin::Variable(name)));
                }
                None => self.problems.add(format!(
                    "{} (from the environment variable {name}) must be {}",
                    key.path,
                    key.type_name()
                )),
            }
        }
    }

    pub fn origin(&self, path: &str) -> Origin {
        self.set
            .get(path)
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The configuration. What cannot be taken is a problem that names its key.
    pub fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.read_secret_files();
        let mut blamed = Vec::new();
        for (path, (value, origin)) in &self.set {
            let mut alone = self.defaults.clone();
            keys::set(&mut alone, path, value.clone());
            if let Err(error) = self.parse::<T>(alone) {
                blamed.push(format!(
                    "{path} (from {origin}) cannot be taken: {}",
                    error.message()
                ));
            }
        }
        self.problems.0.extend(blamed);
        if !self.problems.0.is_empty() {
            return None;
        }
        let mut all = self.defaults.clone();
        for (path, (value, _)) in &self.set {
            keys::set(&mut all, path, value.clone());
        }
        match self.parse(all) {
            Ok(config) => Some(config),
            Err(error) => {
                self.problems.add(error.message().to_owned());
                None
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, mut table: Table) -> Result<T, toml::de::Error> {
        for (_, file) in self.secrets() {
            keys::remove(&mut table, &file);
        }
        table.try_into()
    }

    /// Keys that may be given as a file, with the key for the file.
    fn secrets(&self) -> Vec<(String, String)> {
        let is_key = |path: &str| self.keys.iter().any(|key| key.path == path);
        self.keys
            .iter()
            .filter_map(|key| {
                let secret = key.path.strip_suffix("_file")?;
                is_key(secret).then(|| (secret.to_owned(), key.path.clone()))
            })
            .collect()
    }

    fn read_secret_files(&mut self) {
        for (secret, file) in self.secrets() {
            let Some((value, origin)) = self.set.get(&file).cloned() else {
                continue;
            };
            let Some(path) = value.as_str().filter(|path| !path.is_empty()) else {
                continue;
            };
            if let Some((_, other)) = self
                .set
                .get(&secret)
                .filter(|(v, _)| v.as_str() != Some(""))
            {
                self.problems.add(format!(
                    "{secret} (from {other}) and {file} (from {origin}) are both set: leave one out"
                ));
                continue;
            }
            match std::fs::read_to_string(path) {
                Ok(text) => {
                    let value = Value::String(text.trim().to_owned());
                    self.set.insert(secret, (value, Origin::File(path.into())));
                }
                Err(error) => self
                    .problems
                    .add(format!("{file} (from {origin}): reading {path}: {error}")),
            }
        }
    }
}

fn hint(closest: Option<&str>) -> String {
    closest.map_or_else(
        || "; `laneway config defaults` shows them all".to_owned(),
        |closest| format!("; did you mean {closest}?"),
    )
}

/// The value, if it is of the default's type.
fn like(default: &Value, value: Value) -> Option<Value> {
    match (default, value) {
        (Value::Float(_), Value::Integer(n)) => Some(Value::Float(n as f64)),
        (Value::Array(_), Value::Array(items)) => items
            .iter()
            .all(Value::is_str)
            .then_some(Value::Array(items)),
        (default, value) => default.same_type(&value).then_some(value),
    }
}

/// The text as a value of the default's type.
fn parse_like(default: &Value, text: &str) -> Option<Value> {
    let trimmed = text.trim();
    match default {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Integer(_) => trimmed.parse().ok().map(Value::Integer),
        Value::Float(_) => trimmed
            .parse()
            .ok()
            .filter(|n: &f64| n.is_finite())
            .map(Value::Float),
        Value::Boolean(_) => trimmed.parse().ok().map(Value::Boolean),
        Value::Array(_) => Some(Value::Array(
            trimmed
                .split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
                .map(|t| Value::String(t.to_owned()))
                .collect(),
        )),
        Value::Datetime(_) | Value::Table(_) => None,
    }
}
