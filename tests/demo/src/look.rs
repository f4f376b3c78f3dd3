//! Where to look while a demo stays up.

use super::stage::{Account, Stage};
use anyhow::Result;
use protocol::ids::JobId;
use std::path::Path;
use url::Url;

impl Stage {
    /// What a person can open and paste, with this API, this account and this job of it. Each line to be pasted stands
    /// alone and unindented, since it may be longer than the terminal is wide.
    ///
    /// # Errors
    /// When the file with the variables cannot be written.
    pub fn where_to_look(&self, api: &str, account: &Account, job: JobId) -> Result<String> {
        let variables = self.logs.join("env");
        let exports = self.variables().map(|(name, value)| format!("export {name}='{value}'\n"));
        std::fs::write(&variables, exports.concat())?;
        let backhaul = std::env::current_exe()?.with_file_name("backhaul");
        let (variables, backhaul, logs) = (short(&variables), short(&backhaul), short(&self.logs));
        let (key, connection, console) = (&account.key, account.connection, self.console());
        Ok(format!(
            "A job's status:
curl -H 'Authorization: Bearer {key}' {api}/jobs/{job}

The command line, in another terminal:
. {variables}
{backhaul} list
{backhaul} start --connection {connection} --wait

The broker's console: {console}
The logs of all processes: {logs}/"
        ))
    }

    /// The scripts that start a broker say in `MANAGEMENT_URL` where its console is.
    fn console(&self) -> String {
        let [_, (_, amqp), (_, namespace), _] = self.variables();
        let user = Url::parse(&amqp).map(|url| url.username().to_owned()).unwrap_or_default();
        let user = if user.is_empty() { "guest" } else { &user };
        let address =
            std::env::var("MANAGEMENT_URL").unwrap_or_else(|_unset| "where your broker has it".to_owned());
        format!("{address} (user {user}); the queues are {namespace}.*")
    }
}

/// A path as one would type it here.
fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
