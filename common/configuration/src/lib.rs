//! Configuration: documented defaults, then an optional TOML file, then the environment. The last one wins.
//!
//! A key `slots` of section `pages` is `[pages] slots = 20` in the file and `BACKHAUL__PAGES__SLOTS=20` in the
//! environment. `DATABASE_URL` and `AMQP_URL` are taken when neither names `database.url` or `amqp.url`.
//! Producer and consumer read the same file, so a section that only one of them knows is listed here for both.

mod amqp;
mod api;
mod auth;
mod check;
mod credentials;
mod error;
mod fetch;
mod file;
mod reference;
mod secret;
mod sections;
mod settings;

pub use amqp::{AmqpConfig, addresses};
pub use api::{ApiConfig, Rate};
pub use auth::AuthConfig;
pub use credentials::CredentialsConfig;
pub use error::ConfigError;
pub use fetch::FetchConfig;
pub use reference::{Entry, REFERENCE, flattened};
pub use secret::{SecretText, SecretUrl, mask_url};
pub use sections::{
    CancelConfig, DatabaseConfig, FairnessConfig, HttpConfig, JobsConfig, LeasesConfig, LogConfig, LogFormat,
    PagesConfig, ShutdownConfig, SweeperConfig,
};
pub use settings::Settings;

use config::{Config, Environment, Value, ValueKind};
use file::TomlFile;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Names the TOML file when no argument does.
pub const FILE_VARIABLE: &str = "BACKHAUL_CONFIG";

/// Every section that any Backhaul process reads. Another one is a misspelling.
pub const SECTIONS: &[&str] = &[
    "database",
    "amqp",
    "http",
    "log",
    "pages",
    "leases",
    "jobs",
    "cancel",
    "sweeper",
    "fairness",
    "shutdown",
    "fetch",
    "api",
    "credentials",
    "auth",
];

/// Well-known variables that other tools set too, and the key that each stands in for.
const FALLBACKS: &[(&str, &str)] = &[("DATABASE_URL", "database.url"), ("AMQP_URL", "amqp.url")];

/// The merged configuration, not yet interpreted: each concern takes its own [section](Loaded::section).
#[derive(Clone)]
pub struct Loaded {
    sections: HashMap<String, Value>,
    /// Where the file has each table; other values say it themselves.
    tables: HashMap<String, String>,
}

/// Reads the file (`argument`, else the one that `BACKHAUL_CONFIG` names, else none) and the process's environment.
///
/// # Errors
/// When the file cannot be read, or a section does not exist.
pub fn load(argument: Option<&Path>) -> Result<Loaded, ConfigError> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    load_from(argument, environment)
}

/// As [`load`], with the environment given: for tests, and for programs that start others.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    argument: Option<&Path>,
    environment: HashMap<String, String>,
) -> Result<Loaded, ConfigError> {
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    let file = argument.map(PathBuf::from).or_else(|| variable(FILE_VARIABLE).map(PathBuf::from));

    let mut builder = Config::builder();
    // Half of a retry policy may be set; which defaults the other half has depends on whose policy it is.
    for (key, policy) in
        [("pages.retry", PagesConfig::default().retry), ("amqp.reconnect", AmqpConfig::default().reconnect)]
    {
        for (part, time) in [("initial_ms", policy.initial), ("max_ms", policy.max)] {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let value = Value::new(None, millis);
            builder = builder.set_default(format!("{key}.{part}"), value).map_err(ConfigError::unreadable)?;
        }
    }
    for (name, key) in FALLBACKS {
        if let Some(url) = variable(name) {
            let value = Value::new(Some(&format!("the environment variable {name}")), url);
            builder = builder.set_default(*key, value).map_err(ConfigError::unreadable)?;
        }
    }
    let mut tables = HashMap::new();
    if let Some(path) = &file {
        let file = TomlFile::read(path)?;
        tables = file.tables();
        builder = builder.add_source(file);
    }
    // Variables that a compose file sets to nothing mean "not set".
    let ours = Environment::with_prefix("BACKHAUL").separator("__").ignore_empty(true);
    let merged =
        builder.add_source(ours.source(Some(environment))).build().map_err(ConfigError::unreadable)?;

    let ValueKind::Table(table) = merged.cache.kind else {
        return Ok(Loaded { sections: HashMap::new(), tables });
    };
    let sections: HashMap<String, Value> = table.into_iter().collect();
    match sections.iter().find(|(name, _)| !SECTIONS.contains(&name.as_str())) {
        Some((name, value)) => Err(ConfigError::UnknownSection {
            section: name.clone(),
            origin: error::origin(value, name, &tables),
            accepted: SECTIONS.join(", "),
        }),
        None => Ok(Loaded { sections, tables }),
    }
}

impl Loaded {
    /// One section as its own type, with the type's defaults for whatever is not given. The type should deny
    /// unknown fields, so that a misspelt key is an error and not a silent default.
    ///
    /// # Errors
    /// Names the key, its value (secrets masked), where it was set, and what is accepted.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let empty = Value::new(None, ValueKind::Table(HashMap::default()));
        let value = self.sections.get(name).unwrap_or(&empty);
        serde_path_to_error::deserialize(value.clone()).map_err(|error| {
            let path = error.path().to_string();
            ConfigError::of_section(name, value, &path, error.into_inner(), &self.tables)
        })
    }

    /// Where a key (`section.key`) was set, in words; `None` if it has its default.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<String> {
        let (section, path) = key.split_once('.')?;
        let value = error::lookup(self.sections.get(section)?, path)?;
        value.origin().map(|_| error::origin(value, key, &self.tables))
    }
}

// The values may hold credentials, so only the names are shown.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<_> = self.sections.keys().collect();
        names.sort();
        f.debug_struct("Loaded").field("sections", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
