//! Carries out the core's plans for the tunnel, and reports its flows.

use std::sync::Arc;

use connector_core::access::AccessMap;
use connector_core::connector::{Event, TunnelPlan};
use connector_platform::clock;
use tunnel::userspace::{FlowEvent, Plan, Settings, Userspace};

use super::Events;
use super::keys::KeyRing;

/// Starts the tunnel; its flows are reported as events.
pub(crate) fn start(events: Events) -> Arc<Userspace> {
    let on_flow = move |event| {
        let event = match event {
            FlowEvent::Closed { flow, denial } => Event::FlowClosed { flow, cut: denial },
            FlowEvent::Opened(flow) => Event::FlowOpened(flow),
        };
        if let Err(error) = events.try_send(event) {
            tracing::error!(%error, "A flow's opening or end was not noted");
        }
    };
    Arc::new(Userspace::start(Settings::new(
        clock::moment,
        Arc::new(on_flow),
    )))
}

/// Makes the tunnel what `plan` says.
pub(crate) fn apply(tunnel: &Userspace, keys: &KeyRing, plan: Option<TunnelPlan>) {
    let plan = plan.and_then(|plan| {
        let Some(session) = keys.find(&plan.session) else {
            tracing::error!(session = %plan.session, "The session has no key");
            return None;
        };
        Some(Plan {
            private_key: session.tunnel.clone(),
            addresses: plan.addresses,
            catalogue: plan.catalogue,
        })
    });
    tunnel.configure(plan);
}

/// Puts every live flow to a new map.
pub(crate) fn publish(tunnel: &Userspace, access: &Arc<AccessMap>) {
    tunnel.set_access(access, clock::moment());
}
