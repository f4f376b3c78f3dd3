//! Connections.

use super::{examine, limit, usable_name};
use crate::arguments::{Connection, PutConnection};
use crate::commands::requested_by;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{table, table_or};
use crate::show::moment;
use common::store::Store;
use common::store::connections::{ConnectionView, NewConnection, Tenant};
use common::store::limits::ConnectionLimits;
use common::store::slices::PoisonPolicy;
use consumer::source::{self, Endpoint};
use serde_json::{Value, json};
use std::io::Read;

pub(super) async fn run(context: &Context, action: Connection) -> Result<(), Failure> {
    match action {
        Connection::Put(put) => Box::pin(create_or_change(context, put)).await,
        Connection::Test(test) => Box::pin(examine::run(context, *test)).await,
        Connection::List { tenant } => list(context, tenant.as_deref()).await,
        Connection::Limit(limit) => Box::pin(limit::run(context, limit)).await,
        Connection::Delete { connection, tenant, yes } => {
            Box::pin(delete(context, &connection, &tenant, yes)).await
        }
    }
}

async fn create_or_change(context: &Context, put: PutConnection) -> Result<(), Failure> {
    let name = usable_name(&put.name)?;
    let credentials = put.credentials.as_deref().map(|given| object("credentials", given)).transpose()?;
    let settings = put.settings.as_deref().map(|given| object("settings", given)).transpose()?;

    let store = context.store()?;
    let tenant = context.tenant(&store, &put.tenant).await?;
    let mut others = store.connections(Some(tenant.id)).await?.into_iter();
    let existing = others.find(|connection| connection.name == name);
    if existing.is_some() && credentials.is_none() {
        return Err(Failure::Usage(format!(
            "connection {name:?} exists, and its credentials would be lost: give --credentials again ('{{}}' for none)"
        )));
    }
    let kept = existing.as_ref().map(|connection| connection.settings.clone());
    let new = NewConnection {
        tenant: tenant.id,
        name: name.to_owned(),
        source: put.source,
        base_url: put.base_url.to_string(),
        settings: settings.or(kept).unwrap_or_else(|| json!({})),
    };
    let (keyring, credentials) = (context.keyring()?, credentials.unwrap_or_default());
    fits(&Endpoint {
        kind: new.source.clone(),
        base_url: put.base_url,
        credentials: credentials.clone(),
        settings: new.settings.clone(),
    })?;
    let seal = |id| keyring.seal(id, &credentials).map_err(|error| Failure::Refused(error.to_string()));
    let id = store.put_connection(&new, seal).await?;
    if put.historical_sync {
        store.designate(tenant.id, id).await?;
    }
    if let Some(policy) = put.on_poison_page {
        store.set_poison_policy(tenant.id, id, policy.into()).await?;
    }
    let on_poison_page = put
        .on_poison_page
        .map(PoisonPolicy::from)
        .or(existing.as_ref().map(|connection| connection.on_poison_page))
        .unwrap_or_default();
    let historical_sync =
        put.historical_sync || existing.as_ref().is_some_and(|connection| connection.historical_sync);
    let told = json!({
        "id": id, "tenant_id": tenant.id, "name": name, "source": new.source, "base_url": new.base_url,
        "settings": new.settings, "historical_sync": historical_sync,
        "on_poison_page": on_poison_page, "created": existing.is_none(),
    });
    context.output.either(&told, || {
        let done = if existing.is_some() { "changed" } else { "made" };
        let role = if historical_sync { ", for the agency historical sync" } else { "" };
        format!(
            "connection {id}  {}/{name} is {done}{role}; start a sync with: backhaul start --connection {id}",
            tenant.name
        )
    })
}

/// Refuses a connection that its source cannot work with: better now than in its first job.
fn fits(endpoint: &Endpoint) -> Result<(), Failure> {
    source::open(endpoint).map(drop).map_err(|error| {
        Failure::Usage(format!(
            "{error}\nNothing was stored. Correct it, and try it with `backhaul admin connection test` first."
        ))
    })
}

async fn list(context: &Context, tenant: Option<&str>) -> Result<(), Failure> {
    let store = context.store()?;
    let tenants = store.tenants().await?;
    let tenant = match tenant {
        Some(given) => Some(context.tenant(&store, given).await?.id),
        None => None,
    };
    let connections = store.connections(tenant).await?;
    context.output.either(&connections, || {
        let header = [
            "CONNECTION",
            "TENANT",
            "NAME",
            "SOURCE",
            "BASE URL",
            "CREDENTIALS KEY",
            "HISTORICAL SYNC",
            "LIMITS",
            "POISON PAGES",
            "PAUSED UNTIL",
        ];
        let mut table = table(header);
        for connection in &connections {
            let owner = tenants.iter().find(|tenant| tenant.id == connection.tenant_id);
            table.add_row([
                connection.id.to_string(),
                owner.map(|tenant| tenant.name.clone()).unwrap_or_default(),
                connection.name.clone(),
                connection.source.clone(),
                connection.base_url.clone(),
                connection.credentials_key.map(|key| key.to_string()).unwrap_or_default(),
                if connection.historical_sync { "yes".to_owned() } else { String::new() },
                limit::shown(&ConnectionLimits {
                    pages_in_flight: connection.max_pages_in_flight,
                    requests_per_second: connection.requests_per_second,
                }),
                connection.on_poison_page.to_string(),
                connection.paused_until.map(moment).unwrap_or_default(),
            ]);
        }
        table_or(&table, "no connections; make one with: backhaul admin connection put --help")
    })
}

async fn delete(context: &Context, given: &str, tenant: &str, confirmed: bool) -> Result<(), Failure> {
    if !confirmed {
        return Err(Failure::Usage(format!(
            "deleting connection {given:?} cancels its job and removes its jobs and records for ever; add --yes if that is \
             meant"
        )));
    }
    let store = context.store()?;
    let tenant = context.tenant(&store, tenant).await?;
    let connection = of_tenant(&store, &tenant, given).await?;
    let (engine, publisher) = context.engine(&store)?;
    let deleted = engine.delete_connection(tenant.id, connection.id, &requested_by()).await;
    publisher.close().await;
    let cancelled = deleted?;
    let told =
        json!({ "id": connection.id, "name": connection.name, "deleted": true, "cancelled_job": cancelled });
    context.output.either(&told, || {
        let job = cancelled.map(|job| format!(", and its job {job} is cancelled")).unwrap_or_default();
        format!(
            "connection {}  {}/{} is deleted{job}; a consumer removes its jobs and records",
            connection.id, tenant.name, connection.name
        )
    })
}

/// A tenant's connection, by name or identifier.
pub(super) async fn of_tenant(
    store: &Store,
    tenant: &Tenant,
    given: &str,
) -> Result<ConnectionView, Failure> {
    let mut connections = store.connections(Some(tenant.id)).await?.into_iter();
    let found = connections.find(|connection| connection.name == given || connection.id.to_string() == given);
    found.ok_or_else(|| {
        Failure::Refused(format!(
            "tenant {} has no connection {given:?}; `backhaul admin connection list --tenant {}` shows them",
            tenant.name, tenant.name
        ))
    })
}

/// A JSON object given as text, as `@FILE`, or as `@-` for stdin. Errors never repeat the text: it may be secret.
pub(super) fn object(what: &str, given: &str) -> Result<Value, Failure> {
    let text = match given.strip_prefix('@') {
        None => given.to_owned(),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::Usage(format!("--{what}: stdin cannot be read: {error}")))?;
            text
        }
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("--{what}: {path} cannot be read: {error}")))?,
    };
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => {
            Err(Failure::Usage(format!("--{what} must be a JSON object, such as {{\"api_key\": \"…\"}}")))
        }
        Err(error) => Err(Failure::Usage(format!(
            "--{what} is not JSON (line {}, column {}); expected an object, such as {{\"api_key\": \"…\"}}, or @FILE",
            error.line(),
            error.column()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_needed_and_never_repeated() {
        assert_eq!(object("credentials", r#"{"api_key": "k"}"#).unwrap(), json!({ "api_key": "k" }));
        for wrong in ["s3cret", "[\"s3cret\"]", "\"s3cret\"", "{\"api_key\": s3cret}", "@/nowhere/at/all"] {
            let said = object("credentials", wrong).unwrap_err().to_string();
            assert!(said.starts_with("--credentials") && !said.contains("s3cret"), "{said}");
        }
    }
}
