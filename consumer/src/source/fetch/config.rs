//! Why no [`Fetcher`](super::Fetcher) could be built. Its limits are a section of the configuration.

pub use common::config::FetchConfig;

/// Why no [`Fetcher`](super::Fetcher) could be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchConfigError {
    /// A limit is out of its range, or does not fit the others.
    #[error("{0}")]
    Limit(String),
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}
