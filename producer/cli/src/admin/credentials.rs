//! Keys of credentials: making one, and moving everything to the current one.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Text;
use protocol::ids::ConnectionId;
use sealing::{CannotOpen, Key, KeyId};
use serde::Serialize;
use serde_json::json;
use store::credentials::{Resealed, SealedRow};

/// Rows that one transaction changes.
const BATCH: usize = 100;

/// Prints a fresh key. Needs neither database nor broker: it is the first thing that somebody does.
pub(super) fn generate(context: &Context) -> Result<(), Failure> {
    let key = Key::generate();
    let text = key.expose();
    let told = json!({ "key": *text, "id": key.id() });
    context.output.either(&told, || text.to_string())?;
    if !context.output.is_json() {
        context.output.note(format!(
            "This key is shown only here; its id is {}. Give it to every consumer, and to whoever runs `backhaul admin \
             connection put`, as BACKHAUL__CREDENTIALS__KEY, or `key` or `key_file` under [credentials].",
            key.id()
        ));
    }
    Ok(())
}

/// What is left behind.
#[derive(Debug, Serialize)]
struct Left {
    connection: ConnectionId,
    name: String,
    key: KeyId,
    why: String,
}

/// Puts every connection's credentials under the current key. Each batch is a transaction, so it can be interrupted and
/// run again at any time, beside consumers that know both keys.
pub(super) async fn rotate(context: &Context) -> Result<(), Failure> {
    let keyring = context.keyring()?;
    let current = keyring.current().ok_or_else(|| {
        Failure::Refused(
            "no key is configured to rotate to: make one with `backhaul admin generate-key`, set it as credentials.key, and \
             move the one that it replaces to credentials.old_keys"
                .to_owned(),
        )
    })?;
    let store = context.store()?;
    let keys = store.connections().credentials_keys().await?;
    let all: i64 = keys.iter().filter(|(key, _)| *key != current).map(|(_, connections)| connections).sum();
    let (mut resealed, mut again) = (0, 0);
    let mut left = Vec::new();
    let mut after = None;
    loop {
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let rows = store.connections().sealed_with_other_keys(current, after, limit).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.connection);
        let mut batch = Vec::new();
        for row in rows {
            let resealed = keyring.reseal(&row.bound(), &row.sealed);
            let SealedRow { connection, name, sealed: before, .. } = row;
            match resealed {
                Ok(after) => batch.push(Resealed { connection, before, after }),
                Err(error @ (CannotOpen::UnknownKey { .. } | CannotOpen::Tampered { .. })) => {
                    left.push(Left { connection, name, key: before.key, why: error.to_string() });
                }
            }
        }
        let changed = store.connections().reseal(&batch).await?;
        resealed += changed;
        again += u64::try_from(batch.len()).unwrap_or_default() - changed;
        context.output.note(format!("{resealed} of {all} connections are under key {current}"));
    }
    let told = json!({ "key": current, "resealed": resealed, "changed_meanwhile": again, "left": left });
    context.output.either(&told, || summary(current, resealed, again, &left))?;
    if left.is_empty() { Ok(()) } else { Err(Failure::Shown) }
}

fn summary(current: KeyId, resealed: u64, again: u64, left: &[Left]) -> Text {
    let mut lines = Text::from(format!("{resealed} connections resealed with key {current}"));
    if again > 0 {
        lines.push(format!(
            "{again} were given new credentials meanwhile; run this once more to look at them"
        ));
    }
    if left.is_empty() && again == 0 {
        lines.push("everything is under this key; older keys can be removed from the configuration");
    }
    for Left { connection, name, why, .. } in left {
        lines.push(format!("left as it is: connection {connection}  {name}: {why}"));
    }
    lines
}
