use argon2::{Argon2, Params, PasswordHasher, password_hash::SaltString};

use super::{DigestKey, HashAlgorithm, Hashed, PasswordError, hash_password};

fn read(phc: &str) -> Result<Hashed, PasswordError> {
    Hashed::read(phc, HashAlgorithm::Argon2)
}

/// A hash that takes so many KiB of memory, and time accordingly.
pub(in crate::broker::auth) fn hash_of_cost(password: &[u8], kib: u32) -> String {
    let salt = SaltString::encode_b64(b"salt of the test").expect("a salt");
    let params = Params::new(kib, 1, 1, None).expect("parameters");
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2
        .hash_password(password, &salt)
        .expect("hashed")
        .to_string()
}

#[test]
fn a_hash_made_here_is_checked_here() {
    let phc = hash_password(b"hunter2").expect("hashed");
    assert!(phc.starts_with("$argon2id$v=19$"), "{phc}");
    let hashed = read(&phc).expect("readable");
    assert!(hashed.verify(b"hunter2"));
    assert!(!hashed.verify(b"hunter3"));
    assert_ne!(
        phc,
        hash_password(b"hunter2").expect("hashed"),
        "a new salt each time"
    );
}

#[test]
fn hashes_of_other_costs_are_checked_too() {
    let hashed = read(&hash_of_cost(b"x", 8)).expect("readable");
    assert!(hashed.verify(b"x"));
    assert!(!hashed.verify(b""));
}

#[test]
fn an_invalid_argon2_hash_is_refused() {
    let refused = |phc: &str| read(phc).expect_err("refused");
    assert!(matches!(refused("guest"), PasswordError::Unreadable(_)));
    assert!(matches!(refused(""), PasswordError::Unreadable(_)));
    assert!(matches!(
        refused("$argon2id$v=19$m=1,t=0,p=1$c2FsdHNhbHQ$aGFzaA"),
        PasswordError::Unreadable(_)
    ));
    assert!(matches!(
        refused("$argon2id$v=19$m=19456,t=2,p=1"),
        PasswordError::Unreadable(_)
    ));
    let bcrypt = refused("$scrypt$ln=16,r=8,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA");
    assert!(bcrypt.to_string().contains("'scrypt'"), "{bcrypt}");
}

#[test]
fn digests_differ_for_each_password_and_user() {
    let key = DigestKey::new().expect("random");
    let digest = key.digest("user", b"password");
    assert!(key.matches(&digest, "user", b"password"));
    assert!(!key.matches(&digest, "user", b"passwor"));
    assert!(!key.matches(&digest, "userp", b"assword"));
    let other = DigestKey::new().expect("random");
    assert!(
        !other.matches(&digest, "user", b"password"),
        "another start, another key"
    );
}

#[test]
fn an_empty_password_is_not_hashed() {
    let error = hash_password(b"").expect_err("nothing to hash");
    assert_eq!(error.to_string(), "the password is empty");
}

#[test]
fn hashes_of_rabbitmq_are_checked() {
    // Salt 0x908dc60a and the password "test12", from RabbitMQ's documentation of its hashing.
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
    let hashed = Hashed::read(hash, HashAlgorithm::RabbitSha256).unwrap();
    assert!(hashed.verify(b"test12") && !hashed.verify(b"test13") && !hashed.verify(b""));
    assert_eq!(hashed.cost(), 0);
    let wide = {
        use base64::Engine;
        use sha2::Digest;
        let digest = sha2::Sha512::digest(b"saltpassword");
        base64::engine::general_purpose::STANDARD.encode([&b"salt"[..], &digest].concat())
    };
    let hashed = Hashed::read(&wide, HashAlgorithm::RabbitSha512).unwrap();
    assert!(hashed.verify(b"password") && !hashed.verify(b"passwor"));
    for (hash, algorithm) in [
        (hash, HashAlgorithm::RabbitSha512),
        (&*wide, HashAlgorithm::RabbitSha256),
        ("", HashAlgorithm::RabbitSha256),
        ("!", HashAlgorithm::RabbitSha256),
        (hash, HashAlgorithm::Argon2),
    ] {
        assert!(Hashed::read(hash, algorithm).is_err(), "{hash}");
    }
    assert!(HashAlgorithm::named("rabbit_password_hashing_md5").is_err());
}
