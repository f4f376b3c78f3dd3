//! `backhaul doctor`: everything that a sync needs, looked at from where it is run, with what to do about what is wrong.

mod broker;
mod database;
mod fleet;
mod limits;
mod report;

use crate::config::checked;
use crate::failure::Failure;
use crate::output::Output;
use configuration::ApiConfig;
use configuration::{AuthConfig, Loaded, Settings, load};
use report::Report;
use sealing::Keyring;
use std::path::Path;
use std::time::Duration;

/// No step takes longer, whatever hangs.
const STEP: Duration = Duration::from_secs(10);
const CONFIGURATION: &str = "configuration";

/// Runs every check that can be run. What depends on something that failed is left out.
pub(crate) async fn run(file: Option<&Path>, output: Output) -> Result<(), Failure> {
    sealing::install_tls_provider();
    let mut report = Report::default();
    if let Some((settings, keyring)) = configuration(&mut report, file) {
        if settings.database.url.is_empty() {
            report.failed(
                database::AREA,
                "no database is configured",
                "set DATABASE_URL to postgres://user:password@host:port/database, or `url` under [database]",
            );
        } else {
            database::check(&mut report, &settings, &keyring).await;
        }
        broker::check(&mut report, &settings.amqp).await;
    }
    report.show(output)
}

fn configuration(report: &mut Report, file: Option<&Path>) -> Option<(Settings, Keyring)> {
    let read = |loaded: &Loaded| {
        Ok((
            Settings::parse(loaded)?,
            loaded.section::<ApiConfig>("api")?,
            loaded.section::<AuthConfig>("auth")?,
        ))
    };
    let (settings, api, auth) = match load(file).and_then(|loaded| read(&loaded)) {
        Ok(read) => read,
        Err(error) => {
            report.failed(
                CONFIGURATION,
                error.to_string(),
                "mend it; nothing else can be checked before. `backhaul config --defaults` shows every key",
            );
            return None;
        }
    };
    match checked(&settings, &api, &auth) {
        Ok(()) => report.passed(CONFIGURATION, "readable, and its values agree with each other"),
        Err(error) => report.failed(
            CONFIGURATION,
            error.to_string(),
            "change one of the values of each pair; `backhaul config` shows where they are set",
        ),
    }
    let keyring = match settings.credentials.keyring() {
        Ok(keyring) => keyring,
        Err(error) => {
            report.failed(CONFIGURATION, error.to_string(), "correct the section [credentials]");
            Keyring::default()
        }
    };
    Some((settings, keyring))
}
