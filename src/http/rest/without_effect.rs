//! Query parameters that a route knows and that have no effect in this request.

use crate::{api, model::ServiceName};

/// More characters of a value are not shown.
const VALUE_CHARS_MAX: usize = 64;

/// A sentence for each parameter without an effect, of a request to this route.
pub(in crate::http) fn without_effect(route: &str, query: &str) -> Vec<String> {
    let has = |wanted: &str| api::pairs(query).any(|(key, _)| key == wanted);
    let needs = |parameter: &str, other: &str| {
        let is_alone = has(parameter) && !has(other);
        is_alone.then(|| format!("\"{parameter}\" has no effect without \"{other}\""))
    };
    let mut sentences = Vec::new();
    match route {
        "/services/healthy/{service_name}" => {
            let by_hash = api::pairs(query).any(|(key, value)| key == "policy" && value == "hash");
            if has("key") && !by_hash {
                sentences.push("\"key\" has no effect without policy=hash".to_owned());
            }
            if has("healthy_only") {
                let text = "\"healthy_only\" has no effect: only healthy instances are picked";
                sentences.push(text.to_owned());
            }
        }
        "/services/discover/{service_name}" | "/gateway/config" => {
            sentences.extend(needs("wait", "index"));
        }
        "/events" => {
            sentences.extend(needs("wait", "since"));
            sentences.extend(impossible_services(query));
        }
        "/watch" | "/watch/ws" => sentences.extend(impossible_services(query)),
        _ => {}
    }
    sentences
}

/// Services of a scope that can never change, because no service can have the name.
fn impossible_services(query: &str) -> Option<String> {
    let mut services = api::pairs(query).filter(|(key, value)| key == "service" && value != "*");
    services.find_map(|(_, value)| {
        let error = ServiceName::parse(&value).err()?;
        let shown: String = value.chars().take(VALUE_CHARS_MAX).collect();
        Some(format!(
            "service \"{shown}\" has no changes: the name of a service {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(route: &str, query: &str, expected: &[&str]) {
        let found = without_effect(route, query);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn parameters_that_do_nothing_are_named() {
        let healthy = "/services/healthy/{service_name}";
        check(healthy, "policy=hash&key=a", &[]);
        check(healthy, "key=a", &["\"key\" has no effect"]);
        check(healthy, "policy=random&key=a", &["\"key\" has no effect"]);
        check(healthy, "healthy_only=true", &["\"healthy_only\" has no"]);
        let discover = "/services/discover/{service_name}";
        check(discover, "wait=5s&index=1", &[]);
        let no_index = ["\"wait\" has no effect without \"index\""];
        check(discover, "wait=5s&tag=a", &no_index);
        check("/gateway/config", "wait=5s", &no_index);
        check(
            "/events",
            "wait=5s",
            &["\"wait\" has no effect without \"since\""],
        );
        for route in ["/watch", "/watch/ws", "/events"] {
            check(route, "service=web&service=*", &[]);
            check(route, "service=web&service=a%2Fb", &["service \"a/b\""]);
        }
        check("/services", "wait=5s", &[]);
    }
}
