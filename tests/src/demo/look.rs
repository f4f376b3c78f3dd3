//! Where to look while a demo stays up.

use super::stage::{Account, Stage};
use anyhow::Result;
use common::ids::JobId;
use std::env::current_dir;
use url::Url;

impl Stage {
    /// What a person can open and type, line by line: with this API, this account and this job of it.
    ///
    /// # Errors
    /// When this program does not know where it is.
    pub fn where_to_look(&self, api: &str, account: &Account, job: JobId) -> Result<Vec<String>> {
        let program = std::env::current_exe()?.with_file_name("backhaul");
        let here = current_dir()?;
        let backhaul = program.strip_prefix(&here).unwrap_or(&program).display().to_string();
        let logs = self.logs.strip_prefix(&here).unwrap_or(&self.logs).display();
        let variables: Vec<_> =
            self.variables().iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        let line = |what: &str, text: String| format!("  {what:<13} {text}");
        Ok(vec![
            line("job's status", format!("curl -H 'Authorization: Bearer {}' {api}/jobs/{job}", account.key)),
            line("RabbitMQ", self.console()),
            line("logs", format!("{logs}/")),
            line("command line", format!("export {}", variables.join(" "))),
            line("", format!("{backhaul} list")),
            line("", format!("{backhaul} start --connection {} --wait", account.connection)),
        ])
    }

    /// The broker's console, which the scripts that start a broker name in `MANAGEMENT_URL`.
    fn console(&self) -> String {
        let [_, (_, amqp), (_, namespace)] = self.variables();
        let user = Url::parse(&amqp).map(|url| url.username().to_owned()).unwrap_or_default();
        let user = if user.is_empty() { "guest".to_owned() } else { user };
        match std::env::var("MANAGEMENT_URL") {
            Ok(console) => format!("{console} as user {user}; the queues are {namespace}.*"),
            Err(_unset) => format!("its console, as user {user}; the queues are {namespace}.*"),
        }
    }
}
