use rcgen::SanType;

use super::*;
use crate::tls::testing::Authority;

#[test]
fn the_names_of_a_certificate_are_found_by_their_kind() {
    let authority = Authority::new();
    let certificate = authority.issue("web", |params| {
        for name in ["Web.Example.org", "other.example.org"] {
            let name = name.try_into().unwrap();
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let uri = "spiffe://example.org/web".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        params.subject_alt_names.push(SanType::IpAddress(address));
    });
    let names = names_of(certificate.der());
    assert_eq!(names.common_name.as_deref(), Some("web"));
    assert_eq!(names.dns, ["web.example.org", "other.example.org"]);
    assert_eq!(names.uris, ["spiffe://example.org/web"]);
}

#[test]
fn what_is_no_certificate_has_no_names_and_is_over() {
    for bytes in [&b""[..], b"0", &[0x30, 0x82, 0xFF, 0xFF]] {
        assert_eq!(names_of(bytes), CertificateNames::default());
        assert_eq!(end_of(bytes), 0);
    }
    let authority = Authority::new();
    let whole = authority.issue("web", |_| ());
    for length in 0..whole.der().len() {
        // None of them panics.
        names_of(&whole.der()[..length]);
    }
}
