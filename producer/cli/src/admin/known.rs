//! `admin connection versions` and `stragglers`: what jobs were planned with, what is known, and what could not be stored.

use super::connection::of_tenant;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Table, Text, json_text};
use crate::show::moment;
use clap::Args;
use serde_json::{Map, Value, json};
use store::known::{KnownView, SettingsVersion, StragglerQuery};

/// A connection of a tenant.
#[derive(Debug, Args)]
pub(crate) struct OfConnection {
    /// The connection's name or identifier
    connection: String,
    /// The tenant's name or identifier
    #[arg(long)]
    tenant: String,
}

#[derive(Debug, Args)]
pub(crate) struct ListStragglers {
    #[command(flatten)]
    of: OfConnection,
    /// Those that have ended, too
    #[arg(long)]
    closed: bool,
    /// Only those whose ids come after this one
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    after: String,
    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

pub(super) async fn versions(context: &Context, of: &OfConnection) -> Result<(), Failure> {
    let store = context.store()?;
    let tenant = context.tenant(&store, &of.tenant).await?;
    let connection = of_tenant(&store, &tenant, &of.connection).await?;
    let versions = store.connections().settings_versions(connection.id).await?;
    let known = store.connections().known(connection.id).await?;
    let mut before = None;
    let shown: Vec<(&SettingsVersion, Vec<String>)> = versions
        .iter()
        .map(|version| {
            let changes = before.map(|before| changes(before, version)).unwrap_or_default();
            before = Some(version);
            (version, changes)
        })
        .collect();
    let told = json!({
        "known": known,
        "versions": shown.iter().map(|(version, changes)| told(version, changes)).collect::<Vec<_>>(),
    });
    context.output.either(&told, || {
        if shown.is_empty() {
            return "no job was planned with this connection yet".into();
        }
        let mut lines = Text::default();
        for (version, changes) in &shown {
            lines.append(text(version, changes, known.as_ref()));
        }
        lines
    })
}

fn told(version: &SettingsVersion, changes: &[String]) -> Value {
    let mut told = serde_json::to_value(version).unwrap_or_default();
    if let Some(members) = told.as_object_mut() {
        members.insert("changes".to_owned(), json!(changes));
    }
    told
}

fn text(version: &SettingsVersion, changes: &[String], known: Option<&KnownView>) -> Text {
    let by = version.put_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    let known = known.filter(|known| known.scope == version.scope).map_or_else(
        || "nothing known".to_owned(),
        |known| format!("known up to {}", moment(known.known_to)),
    );
    let mut lines = Text::from(format!(
        "version {}  put {}{by}, planned with since {}",
        version.version,
        moment(version.put_at),
        moment(version.planned_at)
    ));
    lines.push(format!("    scope {}: {known}", version.scope));
    lines.extend(changes.iter().map(|change| format!("    {change}")));
    lines
}

/// What differs between two versions, each as `where: before -> after`.
fn changes(before: &SettingsVersion, after: &SettingsVersion) -> Vec<String> {
    let whole = |version: &SettingsVersion| {
        let mut whole = Map::new();
        whole.insert("source".to_owned(), json!(version.source));
        whole.insert("base_url".to_owned(), json!(version.base_url));
        whole.insert("settings".to_owned(), version.settings.clone());
        Value::Object(whole)
    };
    let mut found = Vec::new();
    compare("", Some(&whole(before)), Some(&whole(after)), &mut found);
    found
}

fn compare(at: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(added) {
                let place = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                compare(&place, old.get(name), new.get(name), found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            let shown = |value: Option<&Value>| {
                value.map_or_else(|| "(absent)".to_owned(), |value| json_text(value).unwrap_or_default())
            };
            found.push(format!("{at}: {} -> {}", shown(old), shown(new)));
        }
    }
}

pub(super) async fn stragglers(context: &Context, given: &ListStragglers) -> Result<(), Failure> {
    let store = context.store()?;
    let tenant = context.tenant(&store, &given.of.tenant).await?;
    let connection = of_tenant(&store, &tenant, &given.of.connection).await?;
    let query = StragglerQuery { closed: given.closed, after: given.after.clone(), limit: given.limit };
    let stragglers = store.connections().stragglers(connection.id, &query).await?;
    context.output.either(&stragglers, || {
        let mut table =
            Table::new(["RECORD", "CAUSE", "HAPPENED", "FIRST MET", "LAST ASKED FOR", "ENDED", "REASON"]);
        for straggler in &stragglers {
            let ended = straggler.closed_at.zip(straggler.closed_by);
            let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
            table.row([
                straggler.external_id.clone(),
                word(json!(straggler.cause)),
                straggler.happened_at.map(moment).unwrap_or_default(),
                moment(straggler.first_seen_at),
                straggler.asked_at.map(moment).unwrap_or_default(),
                ended.map(|(at, by)| format!("{}, {}", word(json!(by)), moment(at))).unwrap_or_default(),
                straggler.reason.clone().unwrap_or_default(),
            ]);
        }
        table.or("no stragglers: everything that was met is stored")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_by_its_place() {
        let mut found = Vec::new();
        let before = json!({ "a": 1, "b": { "c": [1], "d": true }, "e": "x" });
        let after = json!({ "a": 1, "b": { "c": [2], "d": true, "n": null } });
        compare("", Some(&before), Some(&after), &mut found);
        assert_eq!(found, ["b.c: [1] -> [2]", "b.n: (absent) -> null", "e: \"x\" -> (absent)"]);
    }
}
