use super::*;

#[test]
fn a_receiver_can_compute_the_same_signature() {
    let secret = SigningKey::new("it's a secret").unwrap();
    let signature = secret.sign("1f-42", "1700000000", br#"{"event":"registered"}"#);
    assert_eq!(
        signature,
        "sha256=b8a5911be87df4265866d2650c41ac9756e0889c56b3e6306ea2e8c8748e4d2f"
    );
}

#[test]
fn everything_that_is_signed_makes_a_difference() {
    let secret = SigningKey::new("one").unwrap();
    let signatures = [
        secret.sign("1f-42", "1700000000", b"body"),
        secret.sign("1f-43", "1700000000", b"body"),
        secret.sign("1f-42", "1700000001", b"body"),
        secret.sign("1f-42", "1700000000", b"Body"),
        SigningKey::new("two")
            .unwrap()
            .sign("1f-42", "1700000000", b"body"),
    ];
    for (i, one) in signatures.iter().enumerate() {
        assert_eq!(one.len(), 71);
        assert!(signatures[i + 1..].iter().all(|other| other != one));
    }
}

#[test]
fn a_secret_is_never_shown() {
    let secret = SigningKey::new("it's a secret").unwrap();
    assert_eq!(format!("{secret:?}"), "SigningKey(..)");
}
