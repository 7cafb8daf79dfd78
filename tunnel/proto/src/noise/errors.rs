use super::WireGuardError;

/// Why a packet could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The session has sent as many messages as its keys are good for.
    #[error("the session's keys are used up")]
    KeysUsedUp,
    /// There is no session with the peer.
    #[error("there is no session with the peer")]
    NoSession,
    /// The peer may not be sent the packet.
    #[error("the peer may not reach where the packet comes from")]
    NotPermitted,
    /// A buffer is too short.
    #[error("the buffer is too short: the datagram needs {needed} bytes")]
    ShortBuffer {
        /// How long the datagram would be.
        needed: usize,
    },
}

/// Why a datagram from outside was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rejected {
    /// It does not authenticate.
    #[error("the datagram does not authenticate")]
    Forged,
    /// Its packet goes to an address that is not ours.
    #[error("the packet's destination is not ours")]
    InnerDestination,
    /// Its packet comes from an address that the peer does not speak for.
    #[error("the packet's source is not the peer's")]
    InnerSource,
    /// It, or the packet in it, is not well-formed.
    #[error("the datagram is malformed")]
    Malformed,
    /// The peer may not reach where its packet goes.
    #[error("the peer may not reach the packet's destination")]
    NotPermitted,
    /// It was seen before, or is too old to tell.
    #[error("the datagram is a replay")]
    Replayed,
    /// The buffer for it is too short.
    #[error("the buffer is too short for the datagram")]
    ShortBuffer,
    /// Too many handshakes are arriving.
    #[error("too many handshakes are arriving")]
    UnderLoad,
    /// It belongs to no peer or session.
    #[error("the datagram belongs to no session")]
    UnknownSession,
}

impl From<WireGuardError> for Rejected {
    fn from(error: WireGuardError) -> Self {
        match error {
            WireGuardError::InvalidCounter
            | WireGuardError::DuplicateCounter
            | WireGuardError::WrongTai64nTimestamp => Self::Replayed,
            WireGuardError::InvalidMac
            | WireGuardError::InvalidAeadTag
            | WireGuardError::WrongKey => Self::Forged,
            WireGuardError::NoCurrentSession
            | WireGuardError::WrongIndex
            | WireGuardError::UnexpectedPacket
            | WireGuardError::ConnectionExpired => Self::UnknownSession,
            WireGuardError::UnderLoad | WireGuardError::LockFailed => Self::UnderLoad,
            WireGuardError::DestinationBufferTooSmall => Self::ShortBuffer,
            WireGuardError::IncorrectPacketLength
            | WireGuardError::WrongPacketType
            | WireGuardError::InvalidTai64nTimestamp
            | WireGuardError::InvalidPacket => Self::Malformed,
        }
    }
}
