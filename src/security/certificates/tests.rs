use super::*;
use crate::security::{TokenConfig, TokenDigest};

fn certificate(kind: &str, name: &str, policies: &[&str]) -> CertificateConfig {
    let name = Some(name.to_owned());
    let mut certificate = CertificateConfig {
        policies: policies.iter().map(|&policy| policy.to_owned()).collect(),
        ..CertificateConfig::default()
    };
    match kind {
        "uri" => certificate.uri = name,
        "dns" => certificate.dns = name,
        _ => certificate.common_name = name,
    }
    certificate
}

fn config(certificates: &[(&str, CertificateConfig)]) -> Config {
    let token = TokenConfig {
        sha256: Some(TokenDigest::of("a secret of a token").to_hex()),
        policies: vec!["writer".to_owned()],
        ..TokenConfig::default()
    };
    let certificates = certificates.iter().cloned();
    Config {
        tokens: [("ci".to_owned(), token)].into(),
        certificates: certificates
            .map(|(name, one)| (name.to_owned(), one))
            .collect(),
        ..Config::default()
    }
}

#[track_caller]
fn check(certificates: &[(&str, CertificateConfig)], expected: &[&str]) {
    let faults = config(certificates).faults();
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (fault, part) in faults.iter().zip(expected) {
        assert!(fault.contains(part), "{fault}");
    }
}

#[test]
fn each_fault_names_its_key() {
    let web = || certificate("dns", "web.example.org", &["reader"]);
    check(
        &[("web", web()), ("ci", certificate("dns", "ci", &[]))],
        &[],
    );
    check(&[("w b", web())], &["not a usable name"]);
    check(&[("admin", web())], &["first admin token"]);
    check(
        &[("web", certificate("dns", "", &["reader"]))],
        &["exactly one of"],
    );
    let both = CertificateConfig {
        uri: Some("spiffe://a".to_owned()),
        ..web()
    };
    check(&[("web", both)], &["exactly one of"]);
    let same = certificate("dns", "WEB.example.org", &["reader"]);
    check(
        &[("a", web()), ("b", same)],
        &["is also that of security.certificates.a"],
    );
    check(
        &[("web", certificate("dns", "web", &[]))],
        &["policies is empty"],
    );
    check(
        &[("ci", certificate("dns", "ci", &["reader"]))],
        &["security.tokens.ci is the same identity"],
    );
    check(
        &[("web", certificate("dns", "web", &["nothing"]))],
        &["names \"nothing\""],
    );
}

fn names(common_name: &str, dns: &[&str], uris: &[&str]) -> CertificateNames {
    let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
    CertificateNames {
        common_name: Some(common_name.to_owned()),
        dns: owned(dns),
        uris: owned(uris),
    }
}

#[test]
fn a_certificate_proves_the_identity_of_its_most_exact_name() {
    let config = config(&[
        ("a", certificate("uri", "spiffe://a", &["reader"])),
        ("b", certificate("dns", "B.example.org", &["reader"])),
        ("c", certificate("common_name", "c", &["reader"])),
    ]);
    let before = CertificateTable::default();
    let table = CertificateTable::new(
        &config.certificates,
        &config,
        &TokenTable::default(),
        &before,
    );
    for (names, expected) in [
        (names("c", &["b.example.org"], &["spiffe://a"]), Some("a")),
        (
            names("c", &["x", "b.example.org"], &["spiffe://x"]),
            Some("b"),
        ),
        (names("c", &[], &[]), Some("c")),
        // The kinds of names are not mixed up.
        (names("spiffe://a", &["c", "spiffe://a"], &["c"]), None),
        (names("C", &[], &[]), None),
        (CertificateNames::default(), None),
    ] {
        let found = table.find(&names);
        let name = found.as_ref().map(|one| one.name().to_string());
        assert_eq!(name.as_deref(), expected, "{names:?}");
    }
}

#[test]
fn only_what_a_reload_changes_ends() {
    let web = certificate("dns", "web", &["reader"]);
    let old = config(&[
        ("kept", certificate("dns", "kept", &["reader"])),
        ("moved", certificate("dns", "moved", &["reader"])),
        ("web", web),
    ]);
    let tokens = TokenTable::default();
    let before = CertificateTable::default();
    let before = CertificateTable::new(&old.certificates, &old, &tokens, &before);
    let found = |table: &CertificateTable, dns: &str| table.find(&names("", &[dns], &[]));
    let (kept, moved, gone) = (
        found(&before, "kept").unwrap(),
        found(&before, "moved").unwrap(),
        found(&before, "web").unwrap(),
    );
    let new = config(&[
        ("kept", certificate("dns", "kept", &["reader"])),
        ("moved", certificate("dns", "elsewhere", &["reader"])),
    ]);
    let after = CertificateTable::new(&new.certificates, &old, &tokens, &before);
    before.end_without(&after);
    let is_over = |principal: &Principal| {
        let ended = futures_util::FutureExt::now_or_never(principal.ended());
        ended.is_some()
    };
    assert!(!is_over(&kept) && is_over(&moved) && is_over(&gone));
    assert_eq!(found(&after, "kept"), Some(kept));
    assert!(found(&after, "web").is_none() && found(&after, "moved").is_none());
    assert!(!is_over(&found(&after, "elsewhere").unwrap()));
}
