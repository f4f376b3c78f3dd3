//! Why no [`Fetcher`](super::Fetcher) could be built. Its limits are a section of the configuration.

use std::path::{Path, PathBuf};

pub use configuration::FetchConfig;
use reqwest::Certificate;

/// Why no [`Fetcher`](super::Fetcher) could be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchConfigError {
    /// A limit is out of its range, or does not fit the others.
    #[error("{0}")]
    Limit(String),
    /// The file of certificates cannot be used.
    #[error("fetch.ca_file ({}) cannot be used: {reason}", path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// What vouches for upstreams beside the system's roots.
pub(super) fn trusted(ca_file: Option<&Path>) -> Result<Vec<Certificate>, FetchConfigError> {
    let Some(ca_file) = ca_file else { return Ok(Vec::new()) };
    let unusable = |reason: String| FetchConfigError::CaFile { path: ca_file.to_owned(), reason };
    let pem = std::fs::read(ca_file).map_err(|error| unusable(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if found.is_empty() => Err(unusable("there is no PEM certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        assert!(trusted(None).unwrap().is_empty());
        let file = std::env::temp_dir().join(format!("backhaul-no-ca-{}", uuid::Uuid::new_v4()));
        let missing = trusted(Some(&file)).unwrap_err().to_string();
        assert!(missing.contains("fetch.ca_file") && missing.contains("No such file"), "{missing}");
        std::fs::write(&file, "none").unwrap();
        let none = trusted(Some(&file)).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(none.contains("no PEM certificate"), "{none}");
    }
}
