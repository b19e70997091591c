use super::{add, variable};

#[test]
fn a_service_name_becomes_a_variable() {
    assert_eq!(variable("pay-ments.v2"), "PAY_MENTS_V2");
    assert_eq!(variable("3scale"), "_3SCALE");
}

#[test]
fn parameters_are_encoded() {
    let mut path = "/x".to_owned();
    add(&mut path, "tag", "a&b c");
    add(&mut path, "zone", "z1");
    assert_eq!(path, "/x?tag=a%26b%20c&zone=z1");
}
