use super::{Gather, Listing, Wanted};

#[track_caller]
fn check(name: &str, limit: usize, items: &[&str], total: usize) {
    let mut listing = Listing::new(&Wanted {
        vhost: None,
        name: name.to_owned(),
        limit,
    });
    for offered in ["orders", "orders.dead", "mail", ""] {
        listing.offer(&[offered.as_bytes(), b"tag"], || offered);
    }
    assert_eq!((listing.items.as_slice(), listing.total), (items, total));
}

#[test]
fn a_listing_counts_the_items_beyond_its_limit() {
    check("", 9, &["orders", "orders.dead", "mail", ""], 4);
    check("", 1, &["orders"], 4);
    check("order", 1, &["orders"], 2);
    check("dead", 9, &["orders.dead"], 1);
    check("tag", 0, &[], 4);
    check("a name that is longer than any", 9, &[], 0);
}
