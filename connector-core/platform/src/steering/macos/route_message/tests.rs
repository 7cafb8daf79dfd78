use super::*;

#[test]
fn the_request_for_a_network_is_what_the_kernel_documents() {
    let message = request(Request::Add, prefix("10.20.0.0/16"), 9, 7);

    let u16s = |value: u16| value.to_ne_bytes();
    assert_eq!(message.len(), 92 + 16 + 20 + 16);
    assert_eq!(message[0..2], u16s(144));
    assert_eq!(message[2..4], [5, 1]);
    assert_eq!(message[4..6], u16s(9));
    assert_eq!(message[8..12], 0x801_u32.to_ne_bytes());
    assert_eq!(message[12..16], 7_u32.to_ne_bytes());
    assert_eq!(message[20..24], 7_i32.to_ne_bytes());
    assert_eq!(message[92..100], [16, 2, 0, 0, 10, 20, 0, 0]);
    assert_eq!(message[108..110], [20, 18]);
    assert_eq!(message[110..112], u16s(9));
    assert_eq!(message[128..136], [16, 2, 0, 0, 255, 255, 0, 0]);
}

#[test]
fn the_request_for_an_address_has_no_mask() {
    let message = request(Request::Delete, prefix("fd00::7/128"), 9, 1);

    assert_eq!(message.len(), 92 + 28 + 20);
    assert_eq!(message[3], 2);
    assert_eq!(message[8..12], 0x805_u32.to_ne_bytes());
    assert_eq!(message[12..16], 3_u32.to_ne_bytes());
    assert_eq!(message[92..94], [28, 30]);
    assert_eq!(message[100], 0xfd);
    assert_eq!(message[115], 7);
}

#[test]
fn what_is_requested_is_read_back() {
    for text in ["10.20.0.0/16", "10.0.0.1/32", "fd00::/64", "fd00::7/128"] {
        let bytes = request(Request::Add, prefix(text), 9, 1);

        let read: Vec<Message> = messages(&bytes).collect();

        let route = Route {
            prefix: prefix(text),
            interface: 9,
            is_clone: false,
        };
        assert_eq!(read, [Message::Route(route)]);
    }
}

#[test]
fn short_masks_and_missing_ones_are_understood() {
    // As in a dump: the mask ends with its last byte that is not zero.
    let dump = [
        route_message(0, &[&V4_DEFAULT, &[0, 0, 0, 0]]),
        route_message(
            0,
            &[
                &[16, 2, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[5, 0, 0, 0, 255, 0, 0, 0],
            ],
        ),
        route_message(
            0,
            &[
                &[16, 2, 0, 0, 10, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[6, 0, 0, 0, 255, 224, 0, 0],
            ],
        ),
    ]
    .concat();

    assert_eq!(prefixes(&dump), ["0.0.0.0/0", "10.0.0.0/8", "10.32.0.0/11"]);
}

#[test]
fn the_interface_inside_a_link_local_address_is_taken_out() {
    let mut link_local = internet("fe80:4::1".parse().unwrap());
    link_local[0] = 28;
    let mask = internet("ffff:ffff:ffff:ffff::".parse().unwrap());

    let dump = route_message(0, &[&link_local, &mask]);

    assert_eq!(prefixes(&dump), ["fe80::/64"]);
}

#[test]
fn neighbours_in_use_are_told_apart_from_routes() {
    let host = internet("192.168.1.7".parse().unwrap());
    let dump = route_message(RTF_HOST | RTF_WASCLONED, &[&host]);

    let [message] = messages(&dump).collect::<Vec<_>>()[..] else {
        panic!("one message");
    };
    assert!(!message.tells_of_routing());
    assert!(!message.tells_of_roaming());
}

#[test]
fn a_default_route_and_an_address_tell_of_roaming_and_a_protected_route_does_not() {
    let default = route_message(0, &[&V4_DEFAULT, &[0, 0, 0, 0]]);
    let protected = request(Request::Delete, prefix("10.20.0.0/16"), 9, 1);
    let address = address_message("192.168.1.7", "255.255.255.0");

    let tells = |bytes: &[u8]| messages(bytes).any(Message::tells_of_roaming);
    assert!(tells(&default));
    assert!(!tells(&protected));
    assert!(tells(&address));
    assert!(messages(&protected).any(Message::tells_of_routing));
    assert_eq!(
        messages(&address).next(),
        Some(Message::Address {
            prefix: Some(prefix("192.168.1.0/24"))
        })
    );
}

#[test]
fn a_mask_with_holes_is_no_prefix() {
    let address = "10.0.0.0".parse().unwrap();
    for mask in ["255.0.255.0", "0.255.0.0", "255.253.0.0"] {
        let mask = internet(mask.parse().unwrap());
        assert_eq!(mask_length(&mask, address), None);
    }
}

#[test]
fn damaged_messages_neither_panic_nor_loop() {
    let good = [
        request(Request::Add, prefix("10.20.0.0/16"), 9, 1),
        address_message("192.168.1.7", "255.255.255.0"),
        request(Request::Add, prefix("fd00::/64"), 9, 1),
    ]
    .concat();
    for end in 0..good.len() {
        assert!(messages(&good[..end]).count() <= 3);
    }
    for at in 0..good.len() {
        for value in [0, 1, 3, 127, 255] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(messages(&bad).count() <= good.len() / SHORTEST);
        }
    }
}

fn prefixes(dump: &[u8]) -> Vec<String> {
    messages(dump)
        .map(|message| match message {
            Message::Route(route) => route.prefix.to_string(),
            Message::Address { .. } | Message::Link | Message::Other => "none".to_owned(),
        })
        .collect()
}

/// A route without a gateway, as a dump may have it.
fn route_message(flags: u32, sockaddrs: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![0; ROUTE_HEADER];
    message.extend(sockaddrs.concat());
    let length = u16::try_from(message.len()).unwrap();
    message[0..2].copy_from_slice(&length.to_ne_bytes());
    message[2..4].copy_from_slice(&[RTM_VERSION, RTM_GET]);
    message[8..12].copy_from_slice(&flags.to_ne_bytes());
    let present = match sockaddrs.len() {
        1 => RTA_DST,
        _ => RTA_DST | RTA_NETMASK,
    };
    message[12..16].copy_from_slice(&present.to_ne_bytes());
    message
}

fn address_message(address: &str, mask: &str) -> Vec<u8> {
    let mut message = vec![0; ADDRESS_HEADER];
    message.extend(internet(mask.parse().unwrap()));
    message.extend(internet(address.parse().unwrap()));
    let length = u16::try_from(message.len()).unwrap();
    message[0..2].copy_from_slice(&length.to_ne_bytes());
    message[2..4].copy_from_slice(&[RTM_VERSION, RTM_NEWADDR]);
    message[4..8].copy_from_slice(&(RTA_NETMASK | RTA_IFA).to_ne_bytes());
    message
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

const V4_DEFAULT: [u8; 16] = [16, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
