//! API keys.

use super::usable_name;
use crate::arguments::Key;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Table, Text};
use crate::show::moment;
use identity::api_key::ApiKey;
use serde_json::json;
use uuid::Uuid;

pub(super) async fn run(context: &Context, action: Key) -> Result<(), Failure> {
    match action {
        Key::Create { tenant, name } => create(context, &tenant, &name).await,
        Key::List { tenant } => list(context, &tenant).await,
        Key::Revoke { id } => revoke(context, id).await,
    }
}

async fn create(context: &Context, tenant: &str, name: &str) -> Result<(), Failure> {
    let name = usable_name(name)?;
    let store = context.store()?;
    let tenant = context.tenant(&store, tenant).await?;
    let key = ApiKey::generate();
    let id = store.tenants().create_api_key(tenant.id, name, &key.hash(), key.prefix()).await?;
    let told = json!({ "id": id, "tenant_id": tenant.id, "name": name, "prefix": key.prefix(), "key": key.expose() });
    context.output.either(&told, || {
        let shown = format!(
            "This is the only time that the key is shown. It is tenant {}'s, named {name:?}; to revoke it:",
            tenant.name
        );
        Text::from(key.expose()).and("").and(shown).and(format!("  backhaul admin key revoke {id}"))
    })
}

async fn list(context: &Context, tenant: &str) -> Result<(), Failure> {
    let store = context.store()?;
    let tenant = context.tenant(&store, tenant).await?;
    let keys = store.tenants().api_keys(tenant.id).await?;
    context.output.either(&keys, || {
        let mut table = Table::new(["KEY", "NAME", "BEGINS WITH", "CREATED", "LAST USED", "REVOKED"]);
        for key in &keys {
            table.row([
                key.id.to_string(),
                key.name.clone(),
                key.prefix.clone(),
                moment(key.created_at),
                key.last_used_at.map_or_else(|| "never".to_owned(), moment),
                key.revoked_at.map(moment).unwrap_or_default(),
            ]);
        }
        let make =
            format!("no keys; make one with: backhaul admin key create --tenant {} --name NAME", tenant.name);
        table.or(&make)
    })
}

async fn revoke(context: &Context, id: Uuid) -> Result<(), Failure> {
    if context.store()?.tenants().revoke_api_key(id).await? {
        return context
            .output
            .either(&json!({ "id": id, "revoked": true }), || format!("key {id} is revoked"));
    }
    Err(Failure::Refused(format!(
        "there is no key {id}; `backhaul admin key list --tenant NAME` shows the identifiers"
    )))
}
