//! `[store.shards]`: texts of names and what they stand for.

use std::collections::BTreeMap;

use laneway_store::ShardConfig;

use super::ShardsConfig;

/// A key below `store.shards`, and what is wrong with it.
type Wrong = (&'static str, String);

impl ShardsConfig {
    /// What it says, where that can work beside the database `main`.
    pub fn read(&self, main: &str) -> Result<ShardConfig, Wrong> {
        let urls = self.urls.reveal().split(',').map(str::trim);
        let urls = pairs("urls", urls.filter(|text| !text.is_empty()))?;
        if let Some((name, _)) = urls.iter().find(|(_, url)| !is_database(url)) {
            let what =
                format!("gives {name} a URL that does not begin with sqlite: or postgres://");
            return Err(("urls", what));
        }
        let mut dedicated = self.dedicated.clone();
        dedicated.sort_unstable();
        if let Some(twice) = dedicated.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(("dedicated", format!("names {} twice", twice[0])));
        }
        let shards = ShardConfig {
            urls,
            rule: self.rule,
            exceptions: pairs("exceptions", self.exceptions.iter().map(String::as_str))?,
            dedicated: dedicated.into_iter().collect(),
        };
        shards.check(main)?;
        Ok(shards)
    }
}

fn is_database(url: &str) -> bool {
    let begins = |with| url.starts_with(with);
    begins("sqlite:") || begins("postgres://") || begins("postgresql://")
}

/// `NAME=VALUE` each. What is no pair is not repeated: it may be a secret.
fn pairs<'t>(
    key: &'static str,
    texts: impl Iterator<Item = &'t str>,
) -> Result<BTreeMap<String, String>, Wrong> {
    let mut pairs = BTreeMap::new();
    for text in texts {
        let Some((name, value)) = text.split_once('=') else {
            return Err((key, "has an entry without =".to_owned()));
        };
        let (name, value) = (name.trim(), value.trim());
        if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err((key, format!("names {name} twice")));
        }
    }
    Ok(pairs)
}
