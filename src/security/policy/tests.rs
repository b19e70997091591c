use super::{BUILT_IN, NamePattern, PolicyRule, Protected, Right, RuleSet, built_in};

/// `resource pattern access`, several with commas between them.
fn rules(text: &str) -> RuleSet {
    let rules = text.split(',').filter(|one| !one.trim().is_empty());
    RuleSet::new(rules.map(|one| {
        let words: Vec<_> = one.split_whitespace().collect();
        let [resource, pattern, access] = words[..] else {
            panic!("{one}");
        };
        PolicyRule {
            resource: *Protected::ALL
                .iter()
                .find(|known| known.as_str() == resource)
                .unwrap(),
            pattern: NamePattern::parse(pattern),
            right: match access {
                "read" => Some(Right::Read),
                "write" => Some(Right::Write),
                "write_any" => Some(Right::WriteAny),
                "deny" => None,
                _ => panic!("{access}"),
            },
        }
    }))
}

#[track_caller]
fn check(text: &str, name: &str, expected: &str) {
    let rules = rules(text);
    let letter = |right, letter: &str| match rules.allows(Protected::Service, name, right) {
        true => letter.to_owned(),
        false => "-".to_owned(),
    };
    let found =
        letter(Right::Read, "r") + &letter(Right::Write, "w") + &letter(Right::WriteAny, "a");
    assert_eq!(found, expected, "{text} for \"{name}\"");
}

#[test]
fn a_name_has_the_rights_that_a_rule_gives_and_none_denies() {
    check("", "web", "---");
    check("service web read", "web", "r--");
    check("service web write", "web", "rw-");
    check("service web write_any", "web", "rwa");
    check("service web read", "web-1", "---");
    check("service web read", "we", "---");
    check("service web-* write", "web-1", "rw-");
    check("service web-* write", "web-", "rw-");
    check("service web-* write", "web", "---");
    check("service web-* write", "pay", "---");
    check("service * write", "pay", "rw-");
    check("service * write, service pay deny", "pay", "---");
    check("service pay deny, service * write_any", "pay", "---");
    check("service * write, service pay-* deny", "pay", "rw-");
    check("service * read, service web-* write", "web-1", "rw-");
    check("service * read, service web-* write", "pay", "r--");
    check("route * write", "web", "---");
    check("service Web read", "web", "---");
    check("service a*b read", "a*b", "r--");
    check("service a*b read", "axb", "---");
    check("service \u{fc}* read", "\u{fc}ber", "r--");
}

#[track_caller]
fn check_sets(text: &str, all: bool, some: bool) {
    let rules = rules(text);
    assert_eq!(
        rules.allows_all(Protected::Service, Right::Read),
        all,
        "{text}: all"
    );
    assert_eq!(
        rules.allows_some(Protected::Service, Right::Read),
        some,
        "{text}: some"
    );
}

#[test]
fn all_names_or_some_of_them() {
    check_sets("", false, false);
    check_sets("service * read", true, true);
    check_sets("service * write", true, true);
    check_sets("service web-* read", false, true);
    check_sets("service * read, service pay deny", false, true);
    check_sets("service web read, service web deny", false, false);
    check_sets("service web-1 read, service web-* deny", false, false);
    check_sets("service web-* read, service web-1 deny", false, true);
    check_sets("service * read, service * deny", false, false);
    check_sets("route * read", false, false);
    let reads = rules("service * read");
    assert!(!reads.allows_all(Protected::Service, Right::Write));
    assert!(!reads.allows_some(Protected::Service, Right::Write));
}

#[test]
fn everything_under_a_prefix() {
    let check = |text: &str, prefix: &str, expected: bool| {
        let allowed = rules(text).allows_under(Protected::Kv, prefix, Right::Write);
        assert_eq!(allowed, expected, "{text}: {prefix:?}");
    };
    check("", "", false);
    check("kv * write", "", true);
    check("kv * read", "", false);
    check("kv * write", "app/", true);
    check("kv app/* write", "app/", true);
    check("kv app/* write", "app/web", true);
    check("kv app/* write", "app", false);
    check("kv app/ write", "app/", false);
    check("kv * write, kv app/secret deny", "app/", false);
    check("kv * write, kv app/secret* deny", "app/", false);
    check("kv * write, kv app/* deny", "app/web", false);
    check("kv * write, kv other deny", "app/", true);
    check("service * write", "", false);
}

/// What each built-in policy may do with each resource: nothing, read, write, or write what others own.
#[test]
fn the_built_in_policies() {
    let table = [
        ("reader", "service", "r"),
        ("reader", "route", "r"),
        ("reader", "watcher", "-"),
        ("reader", "transport", "r"),
        ("reader", "migration", "r"),
        ("reader", "broker", "-"),
        ("reader", "system", "r"),
        ("reader", "kv", "r"),
        ("reader", "token", "-"),
        ("writer", "service", "w"),
        ("writer", "route", "r"),
        ("writer", "watcher", "w"),
        ("writer", "transport", "r"),
        ("writer", "migration", "r"),
        ("writer", "broker", "-"),
        ("writer", "system", "r"),
        ("writer", "kv", "w"),
        ("writer", "token", "-"),
        ("operator", "service", "a"),
        ("operator", "route", "w"),
        ("operator", "watcher", "w"),
        ("operator", "transport", "w"),
        ("operator", "migration", "w"),
        ("operator", "broker", "w"),
        ("operator", "system", "r"),
        ("operator", "kv", "w"),
        ("operator", "token", "-"),
        ("admin", "service", "a"),
        ("admin", "route", "a"),
        ("admin", "watcher", "a"),
        ("admin", "transport", "a"),
        ("admin", "migration", "a"),
        ("admin", "broker", "a"),
        ("admin", "system", "a"),
        ("admin", "kv", "a"),
        ("admin", "token", "a"),
    ];
    assert_eq!(table.len(), BUILT_IN.len() * Protected::ALL.len());
    for (policy, word, expected) in table {
        let rules = RuleSet::new(built_in(policy).unwrap().iter().cloned());
        let resource = Protected::ALL.iter().find(|one| one.as_str() == word);
        let resource = *resource.unwrap();
        let best = [
            (Right::WriteAny, "a"),
            (Right::Write, "w"),
            (Right::Read, "r"),
        ]
        .into_iter()
        .find(|(right, _)| rules.allows(resource, "any name", *right));
        assert_eq!(
            best.map_or("-", |(_, letter)| letter),
            expected,
            "{policy} {word}"
        );
    }
    assert!(built_in("other").is_none());
}
