use super::ReplyCode;

#[test]
fn codes_are_found_by_their_number() {
    for code in ReplyCode::ALL {
        assert_eq!(ReplyCode::from_code(code.code()), Some(code));
    }
    assert_eq!(ReplyCode::from_code(0), None);
}

#[test]
fn soft_codes_end_a_channel_only() {
    let soft: Vec<u16> = ReplyCode::ALL
        .into_iter()
        .filter(|code| !code.is_hard())
        .map(ReplyCode::code)
        .collect();
    assert_eq!(soft, [200, 311, 312, 313, 403, 404, 405, 406]);
}

#[test]
fn a_text_is_cut_to_a_short_string() {
    let short = ReplyCode::NotFound.text("no queue 'q' in vhost '/'");
    assert_eq!(short, "NOT_FOUND - no queue 'q' in vhost '/'");

    let long = ReplyCode::NotFound.text(&"x".repeat(400));
    assert_eq!(long.len(), 255);
    assert!(long.to_string().ends_with("x..."));

    let wide = ReplyCode::NotFound.text(&"é".repeat(400));
    assert!(wide.len() <= 255 && wide.to_string().ends_with("é..."));
}
