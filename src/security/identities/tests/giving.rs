//! What an identity may give to others, and how many secrets a token has.

use super::*;

/// `ci` may write what begins with `web-` but not `web-secret`, by two policies, and ends in an hour.
fn config_that_denies() -> Config {
    let mut config = config();
    let rule = r#"{"resource":"service","pattern":"web-secret","access":"deny"}"#;
    let rule = serde_json::from_str(rule).unwrap();
    config.policies.insert("no-secret".to_owned(), vec![rule]);
    let ci = config.tokens.get_mut("ci").unwrap();
    ci.policies.push("no-secret".to_owned());
    ci.policies.push("reader".to_owned());
    config
}

fn token(policies: &[&str], expires: Option<Timestamp>) -> NewToken {
    NewToken {
        name: "x".into(),
        policies: policies.iter().map(|one| (*one).into()).collect(),
        expires,
    }
}

#[tokio::test]
async fn a_policy_that_denies_must_be_given_too() {
    let identities = load(&config_that_denies(), &Rows::default());
    let ci = identities.recognise("the secret of ci", peer(1), NOW);
    let ci = ci.unwrap();
    let end = Some(after(HOUR));
    let shed = identities.create(&ci, token(&["web"], end), NOW).await;
    let text = shed.unwrap_err().to_string();
    assert!(text.contains("\"no-secret\""), "{text}");
    let whole = token(&["web", "no-secret"], end);
    identities.create(&ci, whole, NOW).await.unwrap();

    let admin = identities.recognise(ADMIN_SECRET, peer(1), NOW).unwrap();
    let mut free = token(&["web"], end);
    free.name = "free".into();
    identities.create(&admin, free, NOW).await.unwrap();
    let taken = identities.rotate(&ci, "free", Duration::ZERO, NOW).await;
    assert!(taken.is_err(), "its new secret would be free of the denial");
    identities.revoke(&ci, "free").await.unwrap();
}

#[tokio::test]
async fn what_is_given_ends_no_later_than_its_giver() {
    let identities = load(&config(), &Rows::default());
    let ci = identities.recognise("the secret of ci", peer(1), NOW);
    let ci = ci.unwrap();
    for later in [None, Some(after(HOUR + 1))] {
        let refused = identities.create(&ci, token(&["web"], later), NOW).await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(&after(HOUR).to_string()), "{text}");
    }
    let same = token(&["web"], Some(after(HOUR)));
    identities.create(&ci, same, NOW).await.unwrap();
    let admin = identities.recognise(ADMIN_SECRET, peer(1), NOW).unwrap();
    let mut endless = token(&["web"], None);
    endless.name = "endless".into();
    identities.create(&admin, endless, NOW).await.unwrap();
    let taken = identities.rotate(&ci, "endless", Duration::ZERO, NOW).await;
    assert!(taken.is_err(), "its new secret would outlive the giver");
}

#[tokio::test]
async fn a_token_has_two_secrets_at_most() {
    let rows = Rows::default();
    let identities = load(&config(), &rows);
    let admin = identities.recognise(ADMIN_SECRET, peer(1), NOW).unwrap();
    let made = identities.create(&admin, token(&["web"], Some(after(HOUR))), NOW);
    let first = made.await.unwrap().1;
    let by_first = identities.recognise(first.expose(), peer(1), NOW).unwrap();
    let overlap = Duration::from_secs(60);
    let mut secrets = vec![first];
    for _ in 0..3 {
        let rotated = identities.rotate(&admin, "x", overlap, NOW).await;
        secrets.push(rotated.unwrap().1);
    }
    let valid = |identities: &Identities| {
        let known = |one: &TokenSecret| identities.recognise(one.expose(), peer(1), NOW).is_ok();
        secrets.iter().map(known).collect::<Vec<_>>()
    };
    assert_eq!(valid(&identities), [false, false, true, true]);
    assert_eq!(identities.find("x", NOW).unwrap().secrets, 2);
    assert_eq!(valid(&load(&config(), &rows)), [false, false, true, true]);
    let ended = futures_util::FutureExt::now_or_never(by_first.ended());
    assert!(ended.is_some(), "streams of a dropped secret end");
    let late = identities.rotate(&admin, "x", overlap, after(HOUR)).await;
    let text = late.unwrap_err().to_string();
    assert!(text.contains("expired"), "{text}");
}

#[tokio::test]
async fn the_name_admin_is_not_for_tokens_that_are_made_at_run_time() {
    let config = Config {
        admin_token: None,
        ..config()
    };
    let rows = Rows::default();
    let by = load(&super::config(), &rows);
    let admin = by.recognise(ADMIN_SECRET, peer(1), NOW).unwrap();
    let identities = load(&config, &rows);
    let mut wanted = token(&["web"], None);
    wanted.name = "admin".into();
    let refused = identities.create(&admin, wanted, NOW).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("reserved"), "{text}");
}
