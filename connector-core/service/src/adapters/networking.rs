//! Tells the core when the machine moves to another network, and of which kind that is.

use connector_core::connector::Event;
use connector_platform::network;
use connector_platform::steering::NetworkChanges;

use super::{Events, Task};

/// Tells of the network that the machine is in, and of each one after it.
pub(crate) fn watch(events: Events) -> Task {
    Task::spawn(async move {
        // Listening before the first look, so that no change falls between them.
        let changes = NetworkChanges::listen();
        let mut changes = match changes {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "The system does not tell of changes of the network: its kind is unknown to policies"
                );
                return;
            }
        };
        loop {
            let event = Event::NetworkChanged(network::kind());
            if events.send(event).await.is_err() {
                return;
            }
            changes.next().await;
        }
    })
}
