//! The conformance suite on the embedded log.

mod conformance;

use std::path::PathBuf;

use conformance::{Backend, base_config};
use futures_util::future::BoxFuture;
use laneway_log::LogConfig;

/// A folder, removed with the last of it.
struct Embedded {
    path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Backend for Embedded {
    const SHARED: bool = false;

    async fn fresh(case: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(case)
            .tempdir()
            .expect("a folder");
        Embedded {
            path: folder.path().join("log"),
            _folder: Some(folder),
        }
    }

    fn attach(address: &str) -> Self {
        Embedded {
            path: address.into(),
            _folder: None,
        }
    }

    fn address(&self) -> String {
        self.path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn config(&self) -> LogConfig {
        let mut config = base_config(laneway_log::Backend::Embedded);
        config.embedded.path.clone_from(&self.path);
        config
    }

    fn kill_server(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }
}

conformance_suite!(Embedded);
