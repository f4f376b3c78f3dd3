//! `migrate` and `admin`: what is set up once.

mod connection;
mod credentials;
mod examine;
mod examined;
mod key;
mod known;
mod limit;
mod put;
mod user;

pub(crate) use examine::TestConnection;
pub(crate) use known::{ListStragglers, OfConnection};
pub(crate) use limit::LimitConnection;
pub(crate) use put::PutConnection;

use crate::arguments::{Admin, Tenant};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Table;
use crate::show::moment;
use configuration::FairnessConfig;
use protocol::plain::unfit_for_a_name;
use serde_json::json;
use store::MigrationStep;

pub(crate) async fn run(context: &Context, action: Admin) -> Result<(), Failure> {
    match action {
        Admin::Tenant(Tenant::Create { name, max_slices }) => create_tenant(context, &name, max_slices).await,
        Admin::Tenant(Tenant::List) => list_tenants(context).await,
        Admin::Key(action) => key::run(context, action).await,
        Admin::Connection(action) => connection::run(context, action).await,
        Admin::User(action) => user::run(context, action).await,
        Admin::GenerateKey => credentials::generate(context),
        Admin::RotateKey => credentials::rotate(context).await,
    }
}

/// A migration may take long: whoever waits for it sees which one it is.
fn tell(context: &Context, step: &MigrationStep) {
    match step {
        MigrationStep::Begins { version, about } => {
            context.output.note(format!("migration {version} ({about}) is applied …"));
        }
        MigrationStep::Ended { version, took } => {
            context.output.note(format!("migration {version} is applied, in {:.1} s", took.as_secs_f64()));
        }
    }
}

pub(crate) async fn migrate(context: &Context, down: bool, confirmed: bool) -> Result<(), Failure> {
    if down && !confirmed {
        return Err(Failure::Usage(
            "migrate --down deletes every tenant, job and record of this database; add --yes if that is meant".to_owned(),
        ));
    }
    let store = context.store()?;
    if down {
        store.migrate_down().await?;
        return context.output.either(&json!({ "migrated": "down" }), || "the database is empty again");
    }
    store.migrate_telling(|step| tell(context, &step)).await?;
    context.output.either(&json!({ "migrated": "up" }), || "the database is up to date")
}

async fn create_tenant(context: &Context, name: &str, max_slices: Option<i32>) -> Result<(), Failure> {
    let name = usable_name(name)?;
    let store = context.store()?;
    let existing = store.tenants().list().await?.into_iter().find(|tenant| tenant.name == name);
    let fairness: FairnessConfig = context.loaded().section("fairness")?;
    let default = i32::try_from(fairness.slices_per_tenant).unwrap_or(i32::MAX);
    let limit = max_slices.or(existing.map(|tenant| tenant.max_slices)).unwrap_or(default);
    let tenant = store.tenants().create(name, limit).await?;
    context.output.either(&tenant, || {
        format!("tenant {}  {}  (at most {} slices at a time)", tenant.id, tenant.name, tenant.max_slices)
    })
}

async fn list_tenants(context: &Context) -> Result<(), Failure> {
    let tenants = context.store()?.tenants().list().await?;
    context.output.either(&tenants, || {
        let mut table = Table::new(["TENANT", "NAME", "MAX SLICES", "CREATED"]);
        for tenant in &tenants {
            table.row([
                tenant.id.to_string(),
                tenant.name.clone(),
                tenant.max_slices.to_string(),
                moment(tenant.created_at),
            ]);
        }
        table.or("no tenants; make one with: backhaul admin tenant create NAME")
    })
}

/// A name that can be shown and stored.
fn usable_name(name: &str) -> Result<&str, Failure> {
    let name = name.trim();
    if name.is_empty() || name.contains(unfit_for_a_name) {
        return Err(Failure::Usage(
            "a name must have characters, and none of them may control how it is shown: no control character, no end of a \
             line, no mark that turns the direction of reading, nothing invisible"
                .to_owned(),
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::usable_name;

    #[test]
    fn a_name_is_text_and_nothing_else() {
        for name in ["acme", " acme ", "Ünïcödé, Inc.", "日本", "👩"] {
            assert_eq!(usable_name(name).ok(), Some(name.trim()));
        }
        for char in
            "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{202e}\u{2066}\u{2069}\u{ad}\u{200b}\u{200d}\u{2060}\u{feff}\u{fe0f}\u{e0041}".chars()
        {
            assert!(usable_name(&format!("ac{char}me")).is_err(), "{char:?}");
        }
        assert!(usable_name("  ").is_err());
    }
}
