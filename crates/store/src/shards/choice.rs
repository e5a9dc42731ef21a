//! Which database a new tenant gets, and whether what is configured of them can work.

use laneway_tenancy::control::TenantKind;
use laneway_tenancy::slug::is_label;
use laneway_tenancy::{TenantId, spread};

use super::{MAIN, ShardConfig, ShardRule};
use crate::error::{Result, StoreError};

/// What decides about the database of a new tenant.
pub(crate) struct Chosen<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) kind: TenantKind,
    pub(crate) slug: &'a str,
    /// What the operator asked for.
    pub(crate) asked: Option<&'a str>,
}

impl ShardConfig {
    /// What of it cannot work: the key below `store.shards`, and what is wrong with it. `main` is
    /// the main database's URL.
    pub fn check(&self, main: &str) -> Result<(), (&'static str, String)> {
        let mut urls = vec![main];
        for (name, url) in &self.urls {
            if !is_label(name) || name == MAIN {
                return Err((
                    "urls",
                    format!(
                        "names a database {name:?}: use 1 to 40 of a-z, 0-9 and -, but not {MAIN}"
                    ),
                ));
            }
            if urls.contains(&url.as_str()) {
                return Err((
                    "urls",
                    format!("has a second name, {name}, for one database"),
                ));
            }
            urls.push(url);
        }
        if let Some(name) = self.dedicated.iter().find(|n| !self.urls.contains_key(*n)) {
            return Err((
                "dedicated",
                format!("names {name}, which is not in store.shards.urls"),
            ));
        }
        for (slug, name) in &self.exceptions {
            if name != MAIN && !self.urls.contains_key(name) {
                return Err((
                    "exceptions",
                    format!("puts {slug} into {name}, which is not in store.shards.urls"),
                ));
            }
            if self.dedicated.contains(name) {
                return Err((
                    "exceptions",
                    format!(
                        "puts {slug} into {name}, which is dedicated: its tenant is created with it by name"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The shard of a new tenant with none above it; none for the main database. In this order:
    /// what was asked for, an exception, the rule. What is no customer's stays in the main
    /// database.
    pub(crate) fn choose(&self, new: &Chosen<'_>) -> Result<Option<String>> {
        if let Some(name) = new
            .asked
            .filter(|name| *name != MAIN && !self.urls.contains_key(*name))
        {
            return Err(StoreError::Refused(format!("there is no database {name}")));
        }
        let exception = self.exceptions.get(new.slug).map(String::as_str);
        let name = match (new.kind, new.asked.or(exception), self.rule) {
            (TenantKind::Tenant, Some(name), _) => name,
            (TenantKind::Tenant, None, ShardRule::Spread) => self.spread(new.tenant),
            _ => MAIN,
        };
        Ok((name != MAIN).then(|| name.to_owned()))
    }

    fn spread(&self, tenant: TenantId) -> &str {
        let shared = self
            .urls
            .keys()
            .filter(|name| !self.dedicated.contains(*name));
        let names = std::iter::once(MAIN).chain(shared.map(String::as_str));
        spread(tenant, names).unwrap_or(MAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rule: ShardRule) -> ShardConfig {
        let url = |name: &str| (name.to_owned(), format!("sqlite:{name}.db"));
        ShardConfig {
            urls: ["eu", "us", "bank"].map(url).into(),
            rule,
            exceptions: [("acme".to_owned(), "us".to_owned())].into(),
            dedicated: ["bank".to_owned()].into(),
        }
    }

    fn plain(n: u128) -> Chosen<'static> {
        Chosen {
            tenant: TenantId::from_u128(n),
            kind: TenantKind::Tenant,
            slug: "plain",
            asked: None,
        }
    }

    #[test]
    fn the_first_that_says_it_decides() {
        let config = config(ShardRule::Main);
        let choose = |new: Chosen<'_>| config.choose(&new).ok().flatten();
        assert_eq!(choose(plain(1)), None);
        let acme = Chosen {
            slug: "acme",
            ..plain(1)
        };
        assert_eq!(choose(acme).as_deref(), Some("us"));
        let asked = Chosen {
            slug: "acme",
            asked: Some("eu"),
            ..plain(1)
        };
        assert_eq!(choose(asked).as_deref(), Some("eu"));
        let main = Chosen {
            slug: "acme",
            asked: Some(MAIN),
            ..plain(1)
        };
        assert_eq!(choose(main), None);
        for kind in [
            TenantKind::Platform,
            TenantKind::Default,
            TenantKind::Partner,
        ] {
            assert_eq!(
                choose(Chosen {
                    kind,
                    slug: "acme",
                    ..plain(1)
                }),
                None
            );
        }
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let config = config(ShardRule::Spread);
        assert!(
            config
                .choose(&Chosen {
                    asked: Some("mars"),
                    ..plain(1)
                })
                .is_err()
        );
    }

    #[test]
    fn tenants_are_spread_and_never_onto_a_dedicated_database() {
        let config = config(ShardRule::Spread);
        let chosen: Vec<_> = (0..300)
            .map(|n| config.choose(&plain(n)).ok().flatten())
            .collect();
        for name in [None, Some("eu"), Some("us")] {
            let count = chosen.iter().filter(|c| c.as_deref() == name).count();
            assert!((70..130).contains(&count), "{name:?}: {count}");
        }
        assert!(chosen.iter().all(|c| c.as_deref() != Some("bank")));
    }

    #[test]
    fn what_cannot_work_names_its_key() {
        let good = config(ShardRule::Main);
        assert_eq!(good.check("sqlite:main.db"), Ok(()));
        type Change = fn(&mut ShardConfig, (String, String));
        let url: Change = |config, (name, url)| config.urls.extend([(name, url)]);
        let exception: Change = |config, pair| config.exceptions.extend([pair]);
        let dedicated: Change = |config, (name, _)| config.dedicated.extend([name]);
        for (key, change, name, value) in [
            ("urls", url, MAIN, "sqlite:x.db"),
            ("urls", url, "EU", "sqlite:x.db"),
            ("urls", url, "x", "sqlite:eu.db"),
            ("urls", url, "x", "sqlite:main.db"),
            ("dedicated", dedicated, "mars", ""),
            ("exceptions", exception, "a", "mars"),
            ("exceptions", exception, "a", "bank"),
        ] {
            let mut config = good.clone();
            change(&mut config, (name.to_owned(), value.to_owned()));
            let wrong = config.check("sqlite:main.db").unwrap_err();
            assert_eq!(wrong.0, key, "{name}={value}: {}", wrong.1);
        }
    }
}
