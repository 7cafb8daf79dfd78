//! What follows from the facts for everybody else: the tunnel's plan and the access map.

use std::sync::Arc;

use super::{Connector, Effect, TunnelPlan};
use crate::access::{Content, Denial, Reason};
use crate::identity::Owner;

impl Connector {
    pub(super) fn closed(&self) -> Option<Denial> {
        if self.stopping {
            return Some(Reason::Stopping.into());
        }
        if self.known.configuration.is_none() {
            return Some(self.known.why_not_configured().into());
        }
        if self.is_overridden() {
            // Also while nobody is signed in: a way out that needs the provider would be none.
            return Some(Reason::Paused.into());
        }
        if self.known.signing_in.session().is_none() {
            return Some(self.known.signing_in.why_signed_out());
        }
        if self.pause.is_some() {
            return Some(Reason::Paused.into());
        }
        let is_silent = self.known.signalling.is_silent();
        is_silent.then(|| Reason::SignalsSilent.into())
    }

    pub(super) fn publish_tunnel(&mut self) {
        let plan = match (self.known.signing_in.session(), &self.known.configuration) {
            (Some(session), Some(configuration)) if self.pause.is_none() && !self.stopping => {
                Some(TunnelPlan {
                    session: session.id.clone(),
                    addresses: session.addresses.to_vec(),
                    catalogue: Arc::clone(&configuration.catalogue),
                })
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        if plan != self.tunnel {
            self.tunnel.clone_from(&plan);
            self.effects.push_back(Effect::ApplyTunnel(plan));
        }
    }

    pub(super) fn publish_access(&mut self) {
        let catalogue = self
            .known
            .configuration
            .as_ref()
            .map(|known| Arc::clone(&known.catalogue))
            .unwrap_or_default();
        let content = Content {
            closed: self.closed(),
            owner: self.owner().unwrap_or(Owner::Machine),
            catalogue,
            concealed: Arc::clone(&self.known.concealed),
            reviewed: self.enforcer.reviewed().cloned(),
            answers: Arc::clone(self.enforcer.answers()),
        };
        if let Some(access) = self.access.replace(content) {
            self.access = Arc::new(access);
            self.effects
                .push_back(Effect::PublishAccess(Arc::clone(&self.access)));
        }
    }
}
