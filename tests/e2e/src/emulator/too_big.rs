//! A router's complaint about a packet that does not fit.

use crate::packets::checksum;

/// Writes the complaint about `frame` to its sender, unless routers complain about no such packet: only those that
/// must not be cut (RFC 1191 §4, RFC 8200 §5).
pub(super) fn answer(frame: &[u8], mtu: usize) -> Option<Vec<u8>> {
    let mtu = u16::try_from(mtu).ok()?;
    let packet = frame.get(14..)?;
    let body = match frame.get(12..14)? {
        [0x08, 0x00] => about_ipv4(packet, mtu)?,
        [0x86, 0xdd] => about_ipv6(packet, mtu)?,
        _ => return None,
    };
    let (to, from) = (&frame[6..12], &frame[..6]);
    Some([to, from, &frame[12..14], &body].concat())
}

/// "Fragmentation needed" (RFC 792, RFC 1191 §4), in the name of the packet's destination.
fn about_ipv4(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let must_not_be_cut = packet.get(6)? & 0x40 != 0;
    let header_length = usize::from(packet[0] & 0x0f) * 4;
    let quoted = packet.get(..header_length + 8)?;
    if !must_not_be_cut {
        return None;
    }
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum);

    let length = u16::try_from(20 + message.len()).ok()?;
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0, 0, 64, 1, 0, 0]);
    header.extend(&packet[16..20]);
    header.extend(&packet[12..16]);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    header.extend(message);
    Some(header)
}

/// "Packet too big" (RFC 4443 §3.2), in the name of the packet's destination.
fn about_ipv6(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let (source, destination) = (packet.get(8..24)?, packet.get(24..40)?);
    let quoted = &packet[..packet.len().min(1232)];
    let mut message = vec![2, 0, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    let length = u16::try_from(message.len()).ok()?;
    let pseudo = [
        destination,
        source,
        &[0, 0],
        &length.to_be_bytes(),
        &[0, 0, 0, 58],
    ]
    .concat();
    let sum = checksum(&[&pseudo, &message]);
    message[2..4].copy_from_slice(&sum);

    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([58, 64]);
    header.extend(destination);
    header.extend(source);
    header.extend(message);
    Some(header)
}
