//! The committed description of the API is the code's.

use std::path::Path;

use laneway_ingest::refusal::Kind;
use laneway_ingest::transport::http::api;

#[test]
fn the_committed_description_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi/ingest.json");
    let described = api::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &described).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == described,
        "docs/openapi/ingest.json is stale; run `UPDATE_OPENAPI=1 cargo test -p laneway-ingest --test openapi`"
    );
}

#[test]
fn every_kind_of_refusal_is_described() {
    let described = api::openapi().to_json().unwrap();
    for kind in Kind::ALL {
        assert!(
            described.contains(&format!("`{}`", kind.name())),
            "{} is not described",
            kind.name()
        );
    }
}
