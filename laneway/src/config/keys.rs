//! The known keys: read from the annotated defaults, which are the only list of them.

use toml::{Table, Value};

pub const DEFAULTS: &str = include_str!("../../defaults.toml");

/// Variables that begin alike and are no keys: of the command line, and of tests and scripts.
const OTHER_VARIABLES: [&str; 8] = [
    "LANEWAY_CONFIG",
    "LANEWAY_URL",
    "LANEWAY_KEY",
    "LANEWAY_TOKEN",
    "LANEWAY_SOCKET",
    "LANEWAY_CACHE",
    "LANEWAY_BINARY",
    "LANEWAY_TRACE",
];

/// A key, in the order of the defaults.
#[derive(Debug, Clone)]
pub struct Key {
    /// `log.kafka.bootstrap`
    pub path: String,
    /// `LANEWAY_LOG_KAFKA_BOOTSTRAP`
    pub variable: String,
    pub default: Value,
    /// Its comment, line by line.
    pub comment: Vec<String>,
}

impl Key {
    /// The type as people call it.
    pub fn type_name(&self) -> &'static str {
        type_name(&self.default)
    }
}

pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list of texts",
        Value::Datetime(_) => "a time",
        Value::Table(_) => "a section",
    }
}

pub fn variable(path: &str) -> String {
    format!("LANEWAY_{}", path.replace('.', "_").to_uppercase())
}

/// Whether a variable of this name is somebody else's.
pub fn is_other_variable(name: &str) -> bool {
    OTHER_VARIABLES.contains(&name)
        || name.starts_with("LANEWAY_TEST_")
        || name.starts_with("LANEWAY_BENCH_")
}

pub fn defaults() -> anyhow::Result<Table> {
    DEFAULTS
        .parse()
        .map_err(|error| anyhow::anyhow!("reading the built-in defaults: {error}"))
}

/// All keys, in the order of the defaults.
pub fn keys() -> anyhow::Result<Vec<Key>> {
    let table = defaults()?;
    let mut keys = Vec::new();
    let mut section = String::new();
    let mut comment = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text).to_owned());
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            comment.clear();
        } else if let Some((name, _)) = line.split_once(" = ") {
            let path = if section.is_empty() {
                name.to_owned()
            } else {
                format!("{section}.{name}")
            };
            let default = lookup(&table, &path)
                .cloned()
                .ok_or_else(|| anyhow::anyhow!("the built-in defaults have no value for {path}"))?;
            let variable = variable(&path);
            keys.push(Key {
                path,
                variable,
                default,
                comment: std::mem::take(&mut comment),
            });
        } else {
            comment.clear();
        }
    }
    Ok(keys)
}

pub fn lookup<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    let mut parts = path.split('.');
    let mut value = table.get(parts.next()?)?;
    for part in parts {
        value = value.as_table()?.get(part)?;
    }
    Some(value)
}

/// Sets a value whose section exists.
pub fn set(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section.to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

pub fn remove(table: &mut Table, path: &str) {
    match path.split_once('.') {
        None => {
            table.remove(path);
        }
        Some((section, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(section) {
                remove(inner, rest);
            }
        }
    }
}

/// The known name that is most like this one, if any is at all.
pub fn closest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 2 <= name.len().max(candidate.len()))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_says_what_it_does_and_names_its_variable() {
        let keys = keys().unwrap();
        for key in &keys {
            let comment = key.comment.join(" ");
            assert!(
                comment.ends_with(&format!("[{}]", key.variable)),
                "{}: {comment}",
                key.path
            );
            assert!(
                comment.len() > key.variable.len() + 8,
                "{} says nothing",
                key.path
            );
        }
        let variables: BTreeSet<&str> = keys.iter().map(|k| k.variable.as_str()).collect();
        assert_eq!(
            variables.len(),
            keys.len(),
            "two keys have the same variable"
        );
        assert!(variables.iter().all(|v| !is_other_variable(v)));
        fn leaves(table: &Table) -> usize {
            table.values().map(|v| v.as_table().map_or(1, leaves)).sum()
        }
        assert_eq!(
            leaves(&defaults().unwrap()),
            keys.len(),
            "a key was overlooked"
        );
    }

    #[test]
    fn a_typo_finds_the_key_that_was_meant() {
        let known = ["log.backend", "log.topics", "store.url"];
        assert_eq!(
            closest("log.bakend", known.into_iter()),
            Some("log.backend")
        );
        assert_eq!(closest("stroe.url", known.into_iter()), Some("store.url"));
        assert_eq!(closest("xyz", known.into_iter()), None);
    }
}
