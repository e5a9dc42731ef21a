//! `env.example`: every key as its environment variable, commented out.

use toml::Value;

use super::keys;

pub fn generate() -> anyhow::Result<String> {
    let mut out = String::from(
        "# Every key of the configuration as an environment variable, with its default.\n\
         # Made from laneway/defaults.toml by `laneway config env`.\n",
    );
    for key in keys::keys()? {
        let comment = key.comment.join("\n# ");
        let comment = comment.replace(&format!("[{}]", key.variable), "");
        out.push_str(&format!(
            "\n# {}\n#{}={}\n",
            comment.trim_end_matches(['\n', '#', ' ']),
            key.variable,
            text(&key.default)
        ));
    }
    Ok(out)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_file_is_not_stale() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../env.example");
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == super::generate().unwrap(),
            "env.example is stale: run `cargo run -p laneway -- config env > env.example`"
        );
    }
}
