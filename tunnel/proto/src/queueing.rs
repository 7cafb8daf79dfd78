//! What was read from a device and waits to be carried on: bounded, and every
//! flow gets its turn.

use std::collections::VecDeque;

use crate::offload::VirtioHeader;
use crate::packet::{Ends, Headers};

/// (Super-)packets that wait, and the buffers that they wait in.
///
/// A device swallows whatever TCP's window lets in, so that everything else
/// waits behind it. Here the flow that was carried least since it last had nothing waiting goes
/// first; within a flow the order stays.
pub struct Intake {
    buffer_length: usize,
    /// Empty buffers, the one that was used last at the end.
    empty: Vec<Box<[u8]>>,
    made: usize,
    waiting: VecDeque<Waiting>,
    /// How much was carried of each flow that has something waiting, in bytes.
    carried: Vec<(Option<Ends>, usize)>,
}

/// A (super-)packet behind its header, to be carried on now.
#[derive(Debug)]
#[must_use = "its buffer is to be given back"]
pub struct Taken {
    /// The header, the packet, and room behind it.
    pub buffer: Box<[u8]>,
    /// How long header and packet are, in bytes.
    pub length: usize,
}

struct Waiting {
    buffer: Box<[u8]>,
    length: usize,
    flow: Option<Ends>,
}

impl Intake {
    /// Starts empty; buffers of `buffer_length` bytes are made when they are needed.
    #[must_use]
    pub fn new(buffer_length: usize) -> Self {
        Self {
            buffer_length,
            empty: Vec::with_capacity(BUFFERS),
            made: 0,
            waiting: VecDeque::with_capacity(BUFFERS),
            carried: Vec::with_capacity(BUFFERS),
        }
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the space for the next packet and its header, to be kept with
    /// [`commit`](Self::commit); none if enough waits already.
    pub fn space(&mut self) -> Option<&mut [u8]> {
        if self.empty.is_empty() {
            if self.made == BUFFERS {
                return None;
            }
            self.made += 1;
            self.empty.push(vec![0; self.buffer_length].into());
        }
        self.empty.last_mut().map(|buffer| &mut **buffer)
    }

    /// Keeps the `length` bytes that were written to [`space`](Self::space).
    pub fn commit(&mut self, length: usize) {
        let Some(buffer) = self.empty.pop() else {
            return;
        };
        let length = length.min(buffer.len());
        let packet = buffer.get(VirtioHeader::LENGTH..length);
        let flow = packet.and_then(Headers::parse).and_then(|it| it.ends());
        if !self.carried.iter().any(|(known, _)| *known == flow) {
            self.carried.push((flow, 0));
        }
        self.waiting.push_back(Waiting {
            buffer,
            length,
            flow,
        });
    }

    /// Takes what is to be carried on next.
    pub fn take(&mut self) -> Option<Taken> {
        let (flow, carried) = match self.carried.as_slice() {
            [] => return None,
            [(flow, _)] => (*flow, 0),
            several => *several.iter().min_by_key(|(_, carried)| *carried)?,
        };
        let at = self.waiting.iter().position(|it| it.flow == flow)?;
        let Waiting { buffer, length, .. } = self.waiting.remove(at)?;

        let has_more = self.waiting.iter().any(|waiting| waiting.flow == flow);
        self.carried.retain_mut(|(known, bytes)| {
            if *known == flow {
                *bytes = carried + length;
            }
            has_more || *known != flow
        });
        Some(Taken { buffer, length })
    }

    /// Takes a buffer back that was taken.
    pub fn give_back(&mut self, buffer: Box<[u8]>) {
        self.empty.push(buffer);
    }
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake")
            .field("waiting", &self.waiting.len())
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

/// About a millisecond's worth of super-packets at several Gb/s; the rest is
/// left in the device.
const BUFFERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_flow_stay_in_order() {
        let mut intake = Intake::new(SPACE);
        for mark in 0..5 {
            put(&mut intake, 1, 1200, mark);
        }

        assert_eq!(marks(&mut intake), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_flow_that_sends_little_goes_before_one_that_sends_much() {
        let mut intake = Intake::new(SPACE);
        for mark in 0..4 {
            put(&mut intake, 1, 1200, mark);
        }
        assert_eq!(next(&mut intake), Some(0));
        put(&mut intake, 2, 60, 100);
        put(&mut intake, 2, 60, 101);

        assert_eq!(marks(&mut intake), [100, 101, 1, 2, 3]);
    }

    #[test]
    fn flows_that_send_alike_take_turns() {
        let mut intake = Intake::new(SPACE);
        for mark in 0..3 {
            put(&mut intake, 1, 1200, mark);
        }
        for mark in 10..13 {
            put(&mut intake, 2, 1200, mark);
        }

        assert_eq!(marks(&mut intake), [0, 10, 1, 11, 2, 12]);
    }

    #[test]
    fn there_is_an_end_to_what_waits_and_buffers_come_back() {
        let mut intake = Intake::new(SPACE);
        let mut taken_in = 0;
        while intake.space().is_some() {
            put(&mut intake, 1, 60, 0);
            taken_in += 1;
        }
        assert_eq!(taken_in, BUFFERS);

        let taken = intake.take().unwrap();
        intake.give_back(taken.buffer);

        assert!(intake.space().is_some());
        assert_eq!(intake.made, BUFFERS);
    }

    #[test]
    fn what_is_no_packet_goes_through_as_well() {
        let mut intake = Intake::new(SPACE);
        intake.space().unwrap()[0] = 7;
        intake.commit(3);

        let taken = intake.take().unwrap();

        assert_eq!((taken.length, taken.buffer[0]), (3, 7));
        assert!(intake.is_empty());
    }

    fn next(intake: &mut Intake) -> Option<u8> {
        let taken = intake.take()?;
        let mark = taken.buffer[taken.length - 1];
        intake.give_back(taken.buffer);
        Some(mark)
    }

    fn marks(intake: &mut Intake) -> Vec<u8> {
        std::iter::from_fn(|| next(intake)).collect()
    }

    /// A UDP datagram from `port`, marked in its last byte.
    fn put(intake: &mut Intake, port: u8, length: usize, mark: u8) {
        let space = intake.space().unwrap();
        let packet = &mut space[VirtioHeader::LENGTH..VirtioHeader::LENGTH + length];
        packet.fill(0);
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        packet[8] = 64;
        packet[9] = 17;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet[21] = port;
        packet[23] = 53;
        packet[24..26].copy_from_slice(&u16::try_from(length - 20).unwrap().to_be_bytes());
        packet[length - 1] = mark;
        intake.commit(VirtioHeader::LENGTH + length);
    }

    const SPACE: usize = 2048;
}
