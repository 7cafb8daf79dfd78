//! Who may ask for what.

use connector_core::identity::Owner;
use connector_ipc::Request;
use connector_platform::endpoint::{Audience, Peer};

/// The user at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// The administrator, or the user whom the service runs as.
    Administrator,
    /// Another user of the machine.
    User(u32),
}

/// What a caller is to the session, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// May do everything.
    Administrator,
    /// Signed in, or is signing in.
    Owner,
    /// Somebody else is signed in.
    Stranger,
    /// Nobody is signed in.
    Visitor,
}

impl Caller {
    /// Returns who `peer` is to a service for `audience`, unless the system does not tell, or the
    /// service is somebody else's.
    pub(super) fn of(peer: Peer, audience: Audience) -> Option<Self> {
        match audience {
            _ if peer.is_trusted => Some(Self::Administrator),
            Audience::Machine => peer.user.map(Self::User),
            Audience::Own => None,
        }
    }

    /// Returns whose the session is that this caller asks for; `own` is the user whose
    /// service this is, if it is one user's.
    pub(super) fn owner(self, own: Option<u32>) -> Owner {
        match self {
            Self::Administrator => Owner::of(own),
            Self::User(user) => Owner::of(Some(user)),
        }
    }

    /// Returns what this caller is to a session of `owner`.
    pub(super) fn role(self, owner: Option<Owner>) -> Role {
        match (self, owner) {
            (Self::Administrator, _) => Role::Administrator,
            (Self::User(_), None) => Role::Visitor,
            (Self::User(user), Some(owner)) if owner == Owner::User(user) => Role::Owner,
            (Self::User(_), Some(_)) => Role::Stranger,
        }
    }
}

impl Role {
    /// Returns whether this role may ask for `request`. Who is not named here may not.
    pub(super) fn may(self, request: &Request) -> bool {
        match request {
            Request::Status { .. } => true,
            Request::Config
            | Request::Diagnose
            | Request::Login
            | Request::OverrideChallenge
            | Request::OverrideRedeem { .. }
            | Request::Posture { .. }
            // Whoever has switched off by a code may be nobody who is signed in.
            | Request::Up
            | Request::Whoami => self != Self::Stranger,
            Request::AccessRequests
            | Request::Decisions { .. }
            | Request::Delegate { .. }
            | Request::Delegations
            | Request::Down { .. }
            | Request::Elevate { .. }
            | Request::Elevations
            | Request::Logout
            | Request::PolicyLog
            | Request::PolicyShow { .. }
            | Request::PolicyTest { .. }
            | Request::RequestAccess { .. }
            | Request::Resources
            | Request::RevokeDelegation { .. }
            | Request::RevokeElevation { .. }
            | Request::StepUp { .. }
            | Request::Why { .. } => matches!(self, Self::Administrator | Self::Owner),
            // They tell of everybody who was ever signed in here.
            Request::Log | Request::PolicyReplay { .. } => self == Self::Administrator,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_may_sign_in_while_nobody_is_and_only_look_while_somebody_is() {
        let anna = Caller::User(1000);
        for (owner, role) in [
            (None, Role::Visitor),
            (Some(Owner::User(1000)), Role::Owner),
            (Some(Owner::User(1001)), Role::Stranger),
            (Some(Owner::Machine), Role::Stranger),
        ] {
            assert_eq!(anna.role(owner), role);
            assert_eq!(Caller::Administrator.role(owner), Role::Administrator);
        }
        let may = |role: Role| {
            requests()
                .iter()
                .filter(|request| role.may(request))
                .count()
        };

        assert_eq!(may(Role::Administrator), requests().len());
        assert_eq!(may(Role::Owner), requests().len() - 2);
        assert_eq!(may(Role::Visitor), 9);
        assert_eq!(may(Role::Stranger), 1);
    }

    #[test]
    fn a_front_end_that_nobody_can_name_is_no_caller() {
        let peer = |is_trusted, user| Peer {
            is_trusted,
            user,
            process: None,
        };

        let to_machine = |peer| Caller::of(peer, Audience::Machine);
        let to_own = |peer| Caller::of(peer, Audience::Own);
        assert_eq!(to_machine(peer(false, None)), None);
        assert_eq!(to_machine(peer(true, None)), Some(Caller::Administrator));
        assert_eq!(to_machine(peer(false, Some(7))), Some(Caller::User(7)));
        assert_eq!(to_own(peer(true, Some(7))), Some(Caller::Administrator));
        assert_eq!(to_own(peer(false, Some(7))), None);
    }

    #[test]
    fn the_session_is_the_callers_and_the_machines_where_the_administrator_asks() {
        assert_eq!(Caller::User(7).owner(Some(0)), Owner::User(7));
        assert_eq!(Caller::Administrator.owner(Some(0)), Owner::Machine);
        assert_eq!(Caller::Administrator.owner(Some(7)), Owner::User(7));
        assert_eq!(Caller::Administrator.owner(None), Owner::Machine);
    }

    fn requests() -> Vec<Request> {
        let text = String::new;
        vec![
            Request::AccessRequests,
            Request::Config,
            Request::Decisions {
                follow: false,
                denied: false,
                limit: 1,
            },
            Request::Delegate {
                program: text(),
                scope: vec![],
                seconds: 1,
                reason: None,
            },
            Request::Delegations,
            Request::Diagnose,
            Request::Down {
                seconds: None,
                reason: None,
            },
            Request::Elevate {
                target: text(),
                reason: text(),
                evidence: vec![],
                seconds: 1,
            },
            Request::Elevations,
            Request::Log,
            Request::Login,
            Request::Logout,
            Request::OverrideChallenge,
            Request::OverrideRedeem {
                code: text(),
                reason: text(),
            },
            Request::PolicyLog,
            Request::PolicyReplay {
                commit: None,
                since: None,
            },
            Request::PolicyShow {
                commit: text(),
                file: None,
            },
            Request::PolicyTest {
                commit: text(),
                table: text(),
            },
            Request::Posture { refresh: true },
            Request::RequestAccess {
                host: text(),
                port: None,
                reason: text(),
                seconds: 1,
            },
            Request::Resources,
            Request::RevokeDelegation { id: text() },
            Request::RevokeElevation { id: text() },
            Request::StepUp {
                host: text(),
                port: None,
            },
            Request::Status { follow: false },
            Request::Up,
            Request::Whoami,
            Request::Why {
                host: text(),
                port: None,
                program: None,
            },
        ]
    }
}
