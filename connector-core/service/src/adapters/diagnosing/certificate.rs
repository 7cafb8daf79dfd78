//! Who signed the certificate that a server shows.

use connector_core::authzen::printable;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Returns who signed `certificate`, for people: an organisation, or a name where there is none
/// (RFC 5280, section 4.1.2.4).
pub(crate) fn signer(certificate: &[u8]) -> Option<String> {
    let certificate = CertificateDer::from(certificate);
    let certificate = EndEntityCert::try_from(&certificate).ok()?;
    let find = |wanted: &[u8]| attribute(certificate.issuer(), wanted);
    let signer = find(ORGANISATION).or_else(|| find(COMMON_NAME))?;
    Some(printable(&signer).to_string()).filter(|signer| !signer.trim().is_empty())
}

/// Returns the first attribute of this kind in the content of a `Name`.
fn attribute(mut name: &[u8], wanted: &[u8]) -> Option<String> {
    loop {
        let (SET, mut set, rest) = element(name)? else {
            return None;
        };
        name = rest;
        while let Some((SEQUENCE, pair, rest)) = element(set) {
            set = rest;
            if let Some((OBJECT_IDENTIFIER, kind, value)) = element(pair)
                && kind == wanted
                && let Some((UTF8_STRING | PRINTABLE_STRING, text, _)) = element(value)
            {
                return String::from_utf8(text.to_vec()).ok();
            }
        }
    }
}

/// Splits the first element of DER off: its tag, its content, and what follows (X.690, section 8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        // A name of more than 255 bytes is none for people.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// `id-at-commonName` and `id-at-organizationName` (RFC 5280, appendix A.1).
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_is_an_organisation_or_else_a_name() {
        let organisation = include_bytes!("certificate/organisation.der");
        assert_eq!(signer(organisation).as_deref(), Some("Prüfstelle GmbH"));
        let name = include_bytes!("certificate/name.der");
        assert_eq!(signer(name).as_deref(), Some("Test authority"));
        let bare = include_bytes!("certificate/bare.der");
        assert_eq!(signer(bare), None);
        assert_eq!(signer(b""), None);
    }
}
