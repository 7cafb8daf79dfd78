//! As much of a TCP connection as has to be known to end it, and to forget it.

use std::time::Duration;

use connector_core::time::Moment;

use crate::packet::{Carried, Tcp};

/// What was seen of a flow's two directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Conversation {
    outward: Direction,
    inward: Direction,
    is_reset: bool,
    /// Long segments that the program repeated since the application last
    /// acknowledged something new.
    repeated: u32,
    /// When the application last sent, if it broke off in the middle.
    broke_off: Option<Moment>,
    /// When the application acknowledged something that it owes an answer to.
    owes_since: Option<Moment>,
}

/// What was seen of one direction of a TCP connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Direction {
    seen: bool,
    /// After the highest byte sent.
    next: u32,
    /// What the sender expects from the other side.
    acknowledged: u32,
    has_ended: bool,
}

impl Conversation {
    /// Notes a segment from the program.
    pub(super) fn note_outward(&mut self, tcp: &Tcp, is_long: bool) {
        self.is_reset |= tcp.flags.rst();
        let is_repeated = tcp.payload > 0
            && self.outward.seen
            && !is_after(tcp.next_sequence(), self.outward.next);
        if is_long && is_repeated {
            self.repeated += 1;
        }
        self.outward.note(tcp);
    }

    /// Notes a segment from the application.
    pub(super) fn note_inward(&mut self, tcp: &Tcp, is_long: bool, now: Moment) {
        self.is_reset |= tcp.flags.rst();
        let is_acknowledging = is_after(tcp.acknowledged, self.inward.acknowledged);
        if is_acknowledging {
            self.repeated = 0;
        }
        // A message that is complete ends with a push, or with the connection.
        self.owes_since = (tcp.payload == 0 && is_acknowledging && !tcp.flags.syn()).then_some(now);
        let is_broken = is_long && !tcp.flags.psh() && !tcp.flags.fin();
        self.broke_off = is_broken.then_some(now);
        self.inward.note(tcp);
    }

    /// Returns whether long segments of the program vanish on their way,
    /// though nobody says that they are too long (RFC 8899, section 1.1).
    pub(super) fn loses_long_segments(&self) -> bool {
        self.repeated >= REPEATED
    }

    /// Returns when the application has to be suspected of losing its long
    /// segments on their way here.
    ///
    /// On a way that no long packet has come yet (`is_proven` is false), an
    /// answer that is owed for as long is suspicious enough.
    pub(super) fn suspect_at(&self, is_proven: bool) -> Option<Moment> {
        let owed = self.owes_since.filter(|_| !is_proven);
        self.broke_off.or(owed).map(|at| at + SILENCE)
    }

    /// Suspects it, once; returns whether a transfer broke off in the middle.
    pub(super) fn suspected(&mut self) -> bool {
        self.owes_since = None;
        self.broke_off.take().is_some()
    }

    /// Returns the number of the next byte from the application.
    pub(super) fn awaited(&self) -> u32 {
        self.inward.next
    }

    /// Notes a packet of another protocol from the application.
    pub(super) fn note_answer(&mut self) {
        self.inward.seen = true;
    }

    /// Returns whether both directions, or the connection, have ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_reset || (self.outward.has_ended && self.inward.has_ended)
    }

    /// Returns the sequence numbers at which the program may believe a reset:
    /// the one that it expected when it last spoke, and the one after what was
    /// last delivered to it (RFC 5961, section 3.2).
    pub(super) fn resets_inward(&self) -> [u32; 2] {
        [self.outward.acknowledged, self.inward.next]
    }

    /// Returns the number after the last byte that the program sent.
    pub(super) fn sent(&self) -> u32 {
        self.outward.next
    }

    /// Returns how long a silent flow is remembered (RFC 5382, section 5; RFC
    /// 4787, section 4.3).
    pub(super) fn patience(&self, carried: Carried) -> Duration {
        match carried {
            Carried::Tcp if self.outward.has_ended || self.inward.has_ended => TCP_HALF_CLOSED,
            Carried::Tcp if self.inward.seen => TCP_ESTABLISHED,
            Carried::Tcp => TCP_OPENING,
            Carried::Udp if self.inward.seen => UDP_ANSWERED,
            Carried::Udp => UDP_UNANSWERED,
            Carried::Echo => ECHO,
        }
    }
}

impl Direction {
    fn note(&mut self, tcp: &Tcp) {
        let next = tcp.next_sequence();
        if !self.seen || is_after(next, self.next) {
            self.next = next;
        }
        if tcp.flags.ack() && (!self.seen || is_after(tcp.acknowledged, self.acknowledged)) {
            self.acknowledged = tcp.acknowledged;
        }
        self.seen = true;
        self.has_ended |= tcp.flags.fin();
    }
}

/// Compares sequence numbers, which wrap around (RFC 9293, section 3.4).
fn is_after(one: u32, other: u32) -> bool {
    one != other && one.wrapping_sub(other) < 1 << 31
}

/// Returns until when the last packets of a flow that is over are still carried.
pub(super) fn lingers_until(now: Moment) -> Moment {
    now + LINGER
}

/// Twice in vain is more than chance on most paths.
const REPEATED: u32 = 2;

/// Longer than any honest gap in the middle of a transfer, and than finding
/// another gateway takes to begin.
const SILENCE: Duration = Duration::from_millis(1500);

const TCP_ESTABLISHED: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
const TCP_HALF_CLOSED: Duration = Duration::from_secs(4 * 60);
const TCP_OPENING: Duration = Duration::from_secs(2 * 60);
const UDP_ANSWERED: Duration = Duration::from_secs(3 * 60);
const UDP_UNANSWERED: Duration = Duration::from_secs(30);
const ECHO: Duration = Duration::from_secs(30);

/// The last acknowledgements, and what the network delivers late.
const LINGER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap_around() {
        assert!(is_after(1, u32::MAX));
        assert!(!is_after(u32::MAX, 1));
        assert!(!is_after(7, 7));
    }
}
