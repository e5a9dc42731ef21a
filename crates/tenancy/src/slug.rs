//! Slugs: what a tenant is called in addresses and logins.

/// Longest label of a host name.
const LONGEST: usize = 63;

/// What would be taken for the platform itself, or for a part of an address.
const RESERVED: [&str; 44] = [
    "about",
    "account",
    "admin",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "billing",
    "blog",
    "cdn",
    "console",
    "dashboard",
    "default",
    "docs",
    "ftp",
    "health",
    "help",
    "host",
    "hosts",
    "imap",
    "internal",
    "laneway",
    "localhost",
    "location",
    "login",
    "mail",
    "metrics",
    "operator",
    "partners",
    "platform",
    "pop",
    "registry",
    "root",
    "runtime",
    "security",
    "smtp",
    "static",
    "status",
    "stream",
    "support",
    "system",
    "webhooks",
    "www",
];

/// Environments of a project.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    #[error(
        "2 to 40 of a–z, 0–9 and single hyphens, beginning with a letter, not ending with a hyphen"
    )]
    Form,
    #[error("the word is reserved; choose another one")]
    Reserved,
    #[error("the names of tenant, project and environment together are longer than 63 characters")]
    Long,
    #[error("an environment is dev, staging or production")]
    Environment,
}

/// Whether a customer may be called so.
pub fn check(text: &str) -> Result<(), SlugError> {
    if !is_part(text) {
        Err(SlugError::Form)
    } else if RESERVED.contains(&text) || text.starts_with("xn-") {
        Err(SlugError::Reserved)
    } else {
        Ok(())
    }
}

/// Whether text can be the slug of a tenant or a namespace.
pub fn is_slug(text: &str) -> bool {
    text.len() <= LONGEST && text.split("--").count() <= 3 && text.split("--").all(is_part)
}

/// Whether a text can name something of the configuration: 1 to 40 of a–z, 0–9 and hyphens.
pub fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(plain)
}

/// The slug of a project or of an environment of it: `acme--shop`, `acme--shop--dev`. No
/// customer can be called so.
pub fn of_namespace(
    tenant: &str,
    project: &str,
    environment: Option<&str>,
) -> Result<String, SlugError> {
    if !is_part(project) {
        return Err(SlugError::Form);
    }
    if environment.is_some_and(|e| !ENVIRONMENTS.contains(&e)) {
        return Err(SlugError::Environment);
    }
    let mut slug = format!("{tenant}--{project}");
    if let Some(environment) = environment {
        slug.push_str("--");
        slug.push_str(environment);
    }
    if slug.len() > LONGEST {
        return Err(SlugError::Long);
    }
    Ok(slug)
}

fn is_part(text: &str) -> bool {
    (2..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What a slug looks like at a glance: two of the same appearance are taken for one another, so
/// that only one of them is given. (Letters from outside of ASCII are in no slug.)
pub fn appearance(slug: &str) -> String {
    // The migration that introduced it says the same in SQL.
    slug.replace('0', "o")
        .replace('1', "l")
        .replace('5', "s")
        .replace("rn", "m")
        .replace("vv", "w")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_and_unicode_tricks_are_refused() {
        assert_eq!(check("acme"), Ok(()));
        assert_eq!(check("admin"), Err(SlugError::Reserved));
        assert_eq!(check("xn-acme"), Err(SlugError::Reserved));
        for bad in [
            "a",
            "Acme",
            "аcme",
            "acme-",
            "-acme",
            "ac--me",
            "1acme",
            "ac me",
            "ac.me",
            "acmé",
            "ac\u{200d}me",
        ] {
            assert_eq!(check(bad), Err(SlugError::Form), "{bad}");
        }
        assert!(RESERVED.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn slugs_that_look_alike_have_one_appearance() {
        for (a, b) in [("acme", "acrne"), ("lo1", "l0l"), ("twin", "tvvin")] {
            assert_eq!(appearance(a), appearance(b));
        }
        assert_ne!(appearance("tenant-12"), appearance("tenant-21"));
    }

    #[test]
    fn a_namespace_is_named_by_its_tenant_project_and_environment() {
        let slug = of_namespace("acme", "shop", Some("dev")).unwrap();
        assert_eq!(slug, "acme--shop--dev");
        assert!(is_slug(&slug) && check(&slug).is_err());
        assert_eq!(
            of_namespace("acme", "shop", Some("test")),
            Err(SlugError::Environment)
        );
        let long = "x".repeat(40);
        assert_eq!(of_namespace(&long, &long, None), Err(SlugError::Long));
        assert!(!is_slug("a--b--c--d") && !is_slug("acme--"));
    }
}
