use bytesize::ByteSize;

use super::{DashboardMode, FILES};
use crate::http::{config::Config, testing::Api};

const HTML: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

fn api(dashboard: DashboardMode) -> Api {
    Api::with(Config {
        dashboard,
        ..Config::default()
    })
}

#[tokio::test]
async fn browsers_get_the_page_and_other_clients_a_problem() {
    let api = api(DashboardMode::On);
    let page = api.ask("GET", "/", &HTML, "").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("vary"), "accept");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("require-trusted-types-for 'script'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    for accept in ["*/*", "application/json", "text/htmlx"] {
        let other = api.ask("GET", "/", &[("accept", accept)], "").await;
        assert_eq!(other.status, 404, "{accept}");
        assert_eq!(other.header("content-type"), "application/problem+json");
    }
    api.expect(404, "GET", "/", "").await;
}

#[tokio::test]
async fn the_mode_is_in_the_page_and_off_means_that_nothing_is_there() {
    for (mode, word) in [
        (DashboardMode::On, "data-mode=\"on\""),
        (DashboardMode::Read, "data-mode=\"read\""),
    ] {
        let page = api(mode).ask("GET", "/", &HTML, "").await;
        let text = String::from_utf8(page.bytes.to_vec()).unwrap();
        assert!(text.contains(word), "{text}");
    }
    let off = api(DashboardMode::Off);
    assert_eq!(off.ask("GET", "/", &HTML, "").await.status, 404);
    off.expect(404, "GET", "/ui/app.js", "").await;
}

#[tokio::test]
async fn a_file_is_sent_once_and_then_only_its_tag() {
    let api = api(DashboardMode::On);
    for (name, kind) in [
        ("app.js", "text/javascript; charset=utf-8"),
        ("app.css", "text/css; charset=utf-8"),
        ("mark.svg", "image/svg+xml"),
    ] {
        let path = format!("/ui/{name}");
        let first = api.ask("GET", &path, &[], "").await;
        assert_eq!(first.status, 200, "{name}");
        assert_eq!(first.header("content-type"), kind);
        assert_eq!(first.header("cache-control"), "no-cache");
        assert_eq!(first.header("x-content-type-options"), "nosniff");
        let tag = first.header("etag").to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}")] {
            let again = api
                .ask("GET", &path, &[("if-none-match", &known)], "")
                .await;
            assert_eq!(again.status, 304, "{name} {known}");
            assert!(again.bytes.is_empty());
        }
        let other = api
            .ask("GET", &path, &[("if-none-match", "\"x\"")], "")
            .await;
        assert_eq!(other.status, 200);
    }
    for unknown in ["/ui/nothing.js", "/ui/..%2Fconfig.rs", "/ui/index.html"] {
        api.expect(404, "GET", unknown, "").await;
    }
}

/// What a browser loads, compressed as it is sent.
#[tokio::test]
async fn all_files_together_are_small() {
    const BYTES_MAX: usize = 60 * 1024;
    let api = Api::with(Config {
        gzip_min: ByteSize::b(0).into(),
        ..Config::default()
    });
    let mut bytes = 0;
    for (name, _) in FILES {
        let path = match *name {
            "index.html" => "/".to_owned(),
            name => format!("/ui/{name}"),
        };
        let accepted = [HTML[0], ("accept-encoding", "gzip")];
        let sent = api.ask("GET", &path, &accepted, "").await;
        assert_eq!(sent.status, 200, "{name}");
        bytes += sent.bytes.len();
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes, at most {BYTES_MAX}");
}

/// A script is a name in the list and no other place: nothing is loaded from elsewhere, and nothing becomes markup.
#[test]
fn scripts_load_own_files_only_and_make_no_markup() {
    for (name, body) in FILES {
        let text = std::str::from_utf8(body).unwrap();
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "document.write",
            "new Function",
        ] {
            assert!(!text.contains(word), "{name} has {word}");
        }
        for line in text.lines().filter(|line| line.starts_with("import ")) {
            let from = line.rsplit_once("from ").map(|(_, from)| from);
            let from = from.unwrap_or_default().trim_matches([';', '\'', '"', ' ']);
            let file = from.strip_prefix("./").unwrap_or_default();
            assert!(
                FILES.iter().any(|(known, _)| *known == file),
                "{name}: {line}"
            );
        }
    }
}
