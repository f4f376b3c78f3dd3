//! `admin connection put`: makes or changes a connection, and says what becomes of what is known of its upstream.

use super::connection::object;
use super::usable_name;
use crate::arguments::{base_url, source};
use crate::commands::requested_by;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Text;
use crate::show::{moment, number};
use chrono::Utc;
use clap::Args;
use protocol::ids::ConnectionId;
use protocol::poison::PoisonPolicy;
use serde_json::json;
use sources::Endpoint;
use store::Store;
use store::connections::{AccountChange, ConnectionView, NewConnection};
use store::known::KnownView;
use store::sizes;
use url::Url;

#[derive(Debug, Args)]
pub(crate) struct PutConnection {
    /// The tenant's name or identifier
    #[arg(long)]
    tenant: String,
    /// The connection's name, unique within the tenant
    #[arg(long)]
    name: String,
    /// The kind of source
    #[arg(long, value_parser = source())]
    source: String,
    /// The upstream's address, http or https
    #[arg(long, value_name = "URL", value_parser = base_url)]
    base_url: Url,
    /// The upstream's credentials: a JSON object, @FILE, or @- for stdin. Other users of this machine can see
    /// arguments, so a file or the variable is better
    #[arg(long, value_name = "JSON", env = "BACKHAUL_CREDENTIALS", hide_env_values = true)]
    credentials: Option<String>,
    /// Settings of the source: a JSON object, @FILE, or @- for stdin [default: as they are, or none]
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// What becomes of a page that can never be settled (it kills its workers, cannot be read or stored, or fails again
    /// and again while others do not): its job fails, or it is skipped and written down [default: as it is, or fail]
    #[arg(long, value_enum, value_name = "WHAT")]
    on_poison_page: Option<PoisonPolicy>,
    /// With other credentials, scheme or port: it is the same account at the upstream, so what is known stays
    #[arg(long, conflicts_with = "new_account")]
    same_account: bool,
    /// It is another account at the upstream, of which nothing is known: the next incremental job walks everything
    #[arg(long)]
    new_account: bool,
    /// Make it the one that the tenant's agency historical sync pulls, in the place of another
    #[arg(long)]
    historical_sync: bool,
}

pub(super) async fn run(context: &Context, put: Box<PutConnection>) -> Result<(), Failure> {
    let name = usable_name(&put.name)?;
    let credentials = put.credentials.as_deref().map(|given| object("credentials", given)).transpose()?;
    let settings = put.settings.as_deref().map(|given| object("settings", given)).transpose()?;

    let store = context.store()?;
    let tenant = context.tenant(&store, &put.tenant).await?;
    let mut others = store.connections().list(Some(tenant.id)).await?.into_iter();
    let existing = others.find(|connection| connection.name == name);
    if existing.is_some() && credentials.is_none() {
        return Err(Failure::Usage(format!(
            "connection {name:?} exists, and its credentials would be lost: give --credentials again ('{{}}' for none)"
        )));
    }
    let kept = existing.as_ref().map(|connection| connection.settings.clone());
    let endpoint = Endpoint {
        kind: put.source.clone(),
        base_url: put.base_url.clone(),
        credentials: credentials.unwrap_or_default(),
        settings: settings.or(kept).unwrap_or_else(|| json!({})),
    };
    fits(&endpoint)?;
    sealing::check(&endpoint.credentials)
        .map_err(|why| Failure::Refused(format!("the credentials cannot be stored: {why}")))?;
    let account = account(context, &store, &put, existing.as_ref(), &endpoint).await?;
    let new = NewConnection {
        tenant: tenant.id,
        name: name.to_owned(),
        source: endpoint.kind.clone(),
        base_url: endpoint.base_url.to_string(),
        settings: endpoint.settings.clone(),
    };
    sizes::check(&new, &endpoint.credentials).map_err(|too| Failure::Usage(too.reason))?;
    let keyring = context.keyring()?;
    let seal = |id| {
        keyring
            .seal(&new.bound(id), &endpoint.credentials)
            .map_err(|error| Failure::Refused(error.to_string()))
    };
    let id = store.connections().put(&new, account, Some(&requested_by()), seal).await?;
    if put.historical_sync {
        store.connections().designate_for_historical_sync(tenant.id, id).await?;
    }
    if let Some(policy) = put.on_poison_page {
        store.slices().set_poison_policy(tenant.id, id, policy).await?;
    }
    let on_poison_page = put
        .on_poison_page
        .or(existing.as_ref().map(|connection| connection.on_poison_page))
        .unwrap_or_default();
    let historical_sync =
        put.historical_sync || existing.as_ref().is_some_and(|connection| connection.historical_sync);
    let notice = notice(&store, id, existing.as_ref(), &endpoint, account).await?;
    let told = json!({
        "id": id, "tenant_id": tenant.id, "name": name, "source": new.source, "base_url": new.base_url,
        "settings": new.settings, "historical_sync": historical_sync,
        "on_poison_page": on_poison_page, "created": existing.is_none(), "notice": notice,
    });
    context.output.either(&told, || {
        let done = if existing.is_some() { "changed" } else { "made" };
        let role = if historical_sync { ", for the agency historical sync" } else { "" };
        let mut text = Text::from(format!(
            "connection {id}  {}/{name} is {done}{role}; start a sync with: backhaul start --connection {id}",
            tenant.name
        ));
        text.extend(notice);
        text
    })
}

/// Refuses a connection that its source cannot work with: better now than in its first job.
fn fits(endpoint: &Endpoint) -> Result<(), Failure> {
    sources::fits(endpoint, Utc::now()).map_err(|error| {
        let advice =
            "Nothing was stored. Correct it, and try it with `backhaul admin connection test` first.";
        Failure::Advised(Box::new(Failure::Usage(error.to_string())), advice.to_owned())
    })
}

/// Whether it may be another account from now on.
async fn account(
    context: &Context,
    store: &Store,
    put: &PutConnection,
    existing: Option<&ConnectionView>,
    new: &Endpoint,
) -> Result<AccountChange, Failure> {
    let Some(existing) = existing else { return Ok(AccountChange::Unchanged) };
    if put.new_account {
        return Ok(AccountChange::New);
    }
    if put.same_account {
        return Ok(AccountChange::Same);
    }
    let sealed = store.connections().sealed_credentials(existing.id).await?;
    // What no key opens may have been anything.
    let credentials = context.keyring()?.open(&existing.bound(), sealed.as_ref()).ok();
    let moved = Url::parse(&existing.base_url).is_ok_and(|old| {
        (old.scheme(), old.port_or_known_default())
            != (new.base_url.scheme(), new.base_url.port_or_known_default())
    });
    let changed = moved || credentials.as_ref() != Some(&new.credentials);
    Ok(if changed { AccountChange::Unsaid } else { AccountChange::Unchanged })
}

/// What becomes of what is known, if anything does.
async fn notice(
    store: &Store,
    id: ConnectionId,
    existing: Option<&ConnectionView>,
    new: &Endpoint,
    account: AccountChange,
) -> Result<Option<String>, Failure> {
    let Some(existing) = existing else { return Ok(None) };
    let Some(known) = store.connections().known(id).await? else { return Ok(None) };
    let number_of = existing.account + i32::from(account == AccountChange::New);
    let scope = sources::scope(&new.kind, &new.base_url, &new.settings, number_of)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(if account == AccountChange::New {
        Some(forgotten("This is another account", &known))
    } else if scope.fingerprint != known.fingerprint {
        Some(forgotten("These settings list other records than before", &known))
    } else if account == AccountChange::Unsaid {
        Some(format!(
            "Credentials or address have changed. {} stays known; if this is another account, put it again with --new-account, \
             else with --same-account.",
            reach(&known)
        ))
    } else {
        None
    })
}

fn forgotten(why: &str, known: &KnownView) -> String {
    let stragglers = match known.stragglers {
        0 => String::new(),
        open => format!(" {} records that could not be stored yet are no longer asked for.", number(open)),
    };
    format!(
        "{why}: {} was known, and the next incremental job walks everything.{stragglers} The records stay.",
        reach(known)
    )
}

fn reach(known: &KnownView) -> String {
    let from = known.known_from.map_or_else(String::new, |from| format!("from {} ", moment(from)));
    format!("what happened {from}up to {}", moment(known.known_to))
}
