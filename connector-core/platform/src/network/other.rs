use connector_core::network::NetworkKind;

pub(super) fn kind() -> NetworkKind {
    NetworkKind::Unknown
}
