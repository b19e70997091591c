use super::*;

#[test]
fn the_first_of_an_interval_are_told_and_the_others_counted() {
    let refusals = Few::default();
    let told = (0..25).filter(|_| refusals.count()).count();
    assert_eq!((told, refusals.end_interval()), (10, 15));
    assert_eq!(refusals.end_interval(), 0, "nobody came");
    let told = (0..3).filter(|_| refusals.count()).count();
    assert_eq!((told, refusals.end_interval()), (3, 0));
}
