//! The committed description.

/// Run with `LANEWAY_WRITE_OPENAPI=1` to write it anew.
#[test]
fn the_committed_description_is_that_of_the_code() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi/control.json");
    let current = laneway_control::openapi_json().unwrap();
    if std::env::var_os("LANEWAY_WRITE_OPENAPI").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "{} is stale: run this test with LANEWAY_WRITE_OPENAPI=1 and commit the file",
        path.display()
    );
}
