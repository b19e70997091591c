use super::{Id, Slab};

#[test]
fn a_key_never_finds_its_successor() {
    let mut slab = Slab::default();
    let first = slab.insert("first");
    assert_eq!(slab.remove(first), Some("first"));
    let second = slab.insert("second");
    assert_eq!(slab.get(first), None);
    assert_eq!(slab.remove(first), None);
    assert_eq!(slab.get(second), Some(&"second"));
    assert_eq!(slab.len(), 1);
    assert_eq!(slab.get(Id::from_u64(second.as_u64())), Some(&"second"));
}
