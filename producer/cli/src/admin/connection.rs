//! Connections: listing and deleting them, and finding the one that is meant.

use super::{examine, known, limit, put};
use crate::arguments::Connection;
use crate::commands::requested_by;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Table;
use crate::show::moment;
use protocol::json;
use serde_json::{Value, json};
use std::io::Read;
use store::Store;
use store::connections::ConnectionView;
use store::limits::ConnectionLimits;
use store::tenants::Tenant;

pub(super) async fn run(context: &Context, action: Connection) -> Result<(), Failure> {
    match action {
        Connection::Put(put) => Box::pin(put::run(context, put)).await,
        Connection::Versions(of) => Box::pin(known::versions(context, &of)).await,
        Connection::Stragglers(of) => Box::pin(known::stragglers(context, &of)).await,
        Connection::Test(test) => Box::pin(examine::run(context, *test)).await,
        Connection::List { tenant } => list(context, tenant.as_deref()).await,
        Connection::Limit(limit) => Box::pin(limit::run(context, limit)).await,
        Connection::Delete { connection, tenant, yes } => {
            Box::pin(delete(context, &connection, &tenant, yes)).await
        }
    }
}

async fn list(context: &Context, tenant: Option<&str>) -> Result<(), Failure> {
    let store = context.store()?;
    let tenants = store.tenants().list().await?;
    let tenant = match tenant {
        Some(given) => Some(context.tenant(&store, given).await?.id),
        None => None,
    };
    let connections = store.connections().list(tenant).await?;
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
        let mut table = Table::new(header);
        for connection in &connections {
            let owner = tenants.iter().find(|tenant| tenant.id == connection.tenant_id);
            table.row([
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
        table.or("no connections; make one with: backhaul admin connection put --help")
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
    let mut connections = store.connections().list(Some(tenant.id)).await?.into_iter();
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
    match json::read(text.as_bytes()) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => {
            Err(Failure::Usage(format!("--{what} must be a JSON object, such as {{\"api_key\": \"…\"}}")))
        }
        Err(error) if json::is_duplicate(&error) => Err(Failure::Usage(format!(
            "--{what}: a member appears twice (line {}, column {})",
            error.line(),
            error.column()
        ))),
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
            let said = object("credentials", wrong).unwrap_err().text().to_string();
            assert!(said.starts_with("--credentials") && !said.contains("s3cret"), "{said}");
        }
    }
}
