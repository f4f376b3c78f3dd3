//! Commands as upstream services publish them, and what the broker's confirm promises.

use super::world::World;
use broker::{Destination, Envelope};
use protocol::command::{CancelCommand, StartCommand};
use protocol::topology::KEY_CANCEL;
use protocol::topology::KEY_START;
use serde_json::json;
use uuid::Uuid;

/// A command that has been published, to be repeated as it was.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    destination: Destination,
    key: &'static str,
    body: String,
    id: String,
}

impl Sent {
    pub(super) fn start(command: StartCommand) -> Self {
        let id = Uuid::new_v4().to_string();
        let command = StartCommand { command_id: Some(id.clone()), ..command };
        Self { destination: Destination::StartCommand, key: KEY_START, body: json!(command).to_string(), id }
    }

    pub(super) fn cancel(command: CancelCommand) -> Self {
        let id = Uuid::new_v4().to_string();
        let command = CancelCommand { command_id: Some(id.clone()), ..command };
        Self {
            destination: Destination::CancelCommand,
            key: KEY_CANCEL,
            body: json!(command).to_string(),
            id,
        }
    }

    /// Tells it from others.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Publishes it; notes the promise if the broker confirms. Otherwise nothing is known, and nothing promised.
    pub(super) async fn publish(&self, world: &World<'_>) {
        let envelope = Envelope::new(self.destination.clone(), self.key, self.body.clone());
        if world.stage.publisher.publish(envelope).await.is_ok() {
            world.ledger.promises().confirmed.insert(self.id.clone());
        }
    }
}

/// Publishes what can never be applied: text that is no JSON, or a command without its connection.
pub(super) async fn poison(world: &World<'_>, start: bool) {
    let body = format!("{} {}", if start { "not json" } else { "{}" }, Uuid::new_v4());
    let (destination, key) =
        if start { (Destination::StartCommand, KEY_START) } else { (Destination::CancelCommand, KEY_CANCEL) };
    world.ledger.promises().tried_poison.insert(body.clone());
    if world.stage.publisher.publish(Envelope::new(destination, key, body.clone())).await.is_ok() {
        world.ledger.promises().poison.insert(body);
    }
}
