use std::{future::ready, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use super::Config;
use crate::{
    api::PublishDraft,
    broker::{
        definitions::{DefinitionCounts, DefinitionFault, ImportReport},
        listing::Wanted,
    },
    http::{self, BrokerList, BrokerPages, PublishError, testing::Api},
};

/// A broker with one queue, "a/b" in "/", that shows what it was asked.
#[derive(Debug)]
struct Pages {
    waiting: Mutex<Option<usize>>,
}

impl Pages {
    fn depth(&self, vhost: &str, name: &str) -> Option<usize> {
        let waiting = *self.waiting.lock();
        waiting.filter(|_| (vhost, name) == ("/", "a/b"))
    }
}

impl BrokerPages for Pages {
    fn overview(&self) -> BoxFuture<'_, Vec<u8>> {
        Box::pin(ready(br#"{"connections":0}"#.to_vec()))
    }

    fn list(&self, list: BrokerList, wanted: Wanted) -> BoxFuture<'_, Vec<u8>> {
        let Wanted { vhost, name, limit } = wanted;
        let page = json!([format!("{list:?}"), vhost, name, limit]);
        Box::pin(ready(page.to_string().into()))
    }

    fn queue<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<Vec<u8>>> {
        let page = self
            .depth(vhost, name)
            .map(|waiting| json!({ "messages_ready": waiting }).to_string().into());
        Box::pin(ready(page))
    }

    fn publish(&self, draft: PublishDraft) -> BoxFuture<'_, Result<bool, PublishError>> {
        let published = match (&*draft.vhost, &*draft.exchange) {
            ("/", "full") => Err(PublishError::Blocked),
            ("/", "") => Ok(&*draft.routing_key == "a/b"),
            ("/", _) => Err(PublishError::Refused("NOT_FOUND - no exchange".to_owned())),
            _ => Err(PublishError::Vhost(draft.vhost)),
        };
        Box::pin(ready(published))
    }

    fn messages<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        count: usize,
    ) -> BoxFuture<'a, Option<Vec<u8>>> {
        let page = self.depth(vhost, name).map(|waiting| {
            json!({"messages": vec![0; waiting.min(count)]})
                .to_string()
                .into()
        });
        Box::pin(ready(page))
    }

    fn purge<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>> {
        let depth = self.depth(vhost, name);
        Box::pin(ready(depth.and_then(|_| self.waiting.lock().replace(0))))
    }

    fn delete<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>> {
        let depth = self.depth(vhost, name);
        Box::pin(ready(depth.and_then(|_| self.waiting.lock().take())))
    }

    fn definitions<'a>(&'a self, vhost: Option<&'a str>) -> BoxFuture<'a, Option<Vec<u8>>> {
        let page = json!({ "vhost": vhost }).to_string().into();
        Box::pin(ready((vhost != Some("none")).then_some(page)))
    }

    fn import(
        &self,
        file: Bytes,
        vhost: Option<String>,
    ) -> BoxFuture<'_, Result<ImportReport, Vec<DefinitionFault>>> {
        let conflict = DefinitionFault::conflict("queues[0]", "differs");
        let imported = match &*file {
            b"invalid" => Err(vec![DefinitionFault::invalid("", "is no JSON"), conflict]),
            b"conflict" => Err(vec![conflict]),
            _ => Ok(ImportReport {
                made: DefinitionCounts {
                    queues: vhost.map_or(0, |vhost| vhost.len() as u64),
                    ..DefinitionCounts::default()
                },
                ..ImportReport::default()
            }),
        };
        Box::pin(ready(imported))
    }
}

fn api() -> Api {
    let config = http::Config {
        broker: Config {
            items_max: 2000.into(),
            messages_max: 20.into(),
            ..Config::default()
        },
        ..http::Config::default()
    };
    let pages = Pages {
        waiting: Mutex::new(Some(50)),
    };
    Api::with_broker(config, Arc::new(pages))
}

const LISTS: [&str; 6] = [
    "Connections",
    "Channels",
    "Exchanges",
    "Queues",
    "Bindings",
    "Consumers",
];

#[tokio::test]
async fn each_list_is_asked_for_by_its_path_and_in_parts() {
    let api = api();
    for list in LISTS {
        let path = format!("/broker/{}", list.to_lowercase());
        let all = api.expect(200, "GET", &path, "").await;
        assert_eq!(all.json, json!([list, null, "", 1000]));
        assert_eq!(all.header("content-type"), "application/json");
        let part = format!("{path}?vhost=%2F&name=a+b&limit=7");
        let part = api.expect(200, "GET", &part, "").await;
        assert_eq!(part.json, json!([list, "/", "a b", 7]));
        let most = format!("{path}?limit=99999");
        let most = api.expect(200, "GET", &most, "").await;
        assert_eq!(most.json, json!([list, null, "", 2000]), "items_max");
        let wrong = format!("{path}?limit=all");
        let wrong = api.expect(422, "GET", &wrong, "").await;
        assert_eq!(wrong.json["errors"][0]["field"], "limit");
    }
    let overview = api.expect(200, "GET", "/broker/overview", "").await;
    assert_eq!(overview.json, json!({"connections": 0}));
}

#[tokio::test]
async fn a_queue_is_shown_read_purged_and_deleted() {
    let api = api();
    let path = "/broker/queues/%2F/a%2Fb";
    let messages = format!("{path}/messages");
    let queue = api.expect(200, "GET", path, "").await;
    assert_eq!(queue.json["messages_ready"], 50);
    for (query, shown) in [("", 10), ("?count=15", 15), ("?count=1000", 20)] {
        let read = api
            .expect(200, "GET", &format!("{messages}{query}"), "")
            .await;
        let list = read.json["messages"].as_array().unwrap();
        assert_eq!(list.len(), shown, "{query}");
    }
    let wrong = format!("{messages}?count=-1");
    let wrong = api.expect(422, "GET", &wrong, "").await;
    assert_eq!(wrong.json["errors"][0]["field"], "count");
    let purged = api.expect(200, "DELETE", &messages, "").await;
    assert_eq!(purged.json, json!({"purged": 50}));
    let deleted = api.expect(200, "DELETE", path, "").await;
    assert_eq!(deleted.json, json!({"deleted": true, "messages": 0}));
    api.expect(404, "GET", path, "").await;
}

#[tokio::test]
async fn a_message_is_published_and_the_answer_says_whether_a_queue_has_it() {
    let api = api();
    let path = "/broker/publish";
    for (body, status, field, expected) in [
        (
            json!({"payload": "x", "routing_key": "a/b"}),
            200,
            "routed",
            json!(true),
        ),
        (
            json!({"payload": "x", "routing_key": "b"}),
            200,
            "routed",
            json!(false),
        ),
        (
            json!({"payload": "x", "vhost": "v"}),
            404,
            "detail",
            json!("there is no vhost \"v\""),
        ),
        (
            json!({"payload": "x", "exchange": "e"}),
            409,
            "detail",
            json!("NOT_FOUND - no exchange"),
        ),
        (
            json!({"payload": "x", "exchange": "full"}),
            503,
            "status",
            json!(503),
        ),
        (json!({"routing_key": "b"}), 422, "status", json!(422)),
    ] {
        let answer = api.expect(status, "POST", path, body.to_string()).await;
        assert_eq!(answer.json[field], expected, "{body}");
    }
    let blocked = json!({"payload": "x", "exchange": "full"}).to_string();
    let blocked = api.expect(503, "POST", path, blocked).await;
    assert_eq!(blocked.header("retry-after"), "1");
}

#[tokio::test]
async fn an_unknown_queue_is_a_404_that_names_it() {
    let api = api();
    let path = "/broker/queues/%2F/nowhere";
    let messages = format!("{path}/messages");
    for (method, path) in [
        ("GET", path),
        ("DELETE", path),
        ("GET", &messages),
        ("DELETE", &messages),
    ] {
        let unknown = api.expect(404, method, path, "").await;
        assert_eq!(
            unknown.json["detail"], r#"there is no queue "nowhere" in vhost "/""#,
            "{method} {path}"
        );
    }
    api.expect(404, "GET", "/broker/queues/elsewhere/a%2Fb", "")
        .await;
}

#[tokio::test]
async fn without_a_broker_every_page_says_so() {
    let api = Api::new();
    let lists = LISTS.map(|list| ("GET", format!("/broker/{}", list.to_lowercase())));
    let others = [
        ("GET", "/broker/overview"),
        ("GET", "/broker/queues/%2F/q"),
        ("DELETE", "/broker/queues/%2F/q"),
        ("GET", "/broker/queues/%2F/q/messages"),
        ("DELETE", "/broker/queues/%2F/q/messages"),
    ];
    let others = others.map(|(method, path)| (method, path.to_owned()));
    for (method, path) in lists.into_iter().chain(others) {
        let off = api.expect(404, method, &path, "").await;
        let detail = "the embedded broker is switched off";
        assert_eq!(off.json["detail"], detail, "{method} {path}");
    }
}

#[tokio::test]
async fn definitions_are_exported_and_imported_and_a_conflict_is_not_a_fault_of_the_file() {
    let api = api();
    let path = "/broker/definitions";
    let all = api.expect(200, "GET", path, "").await;
    assert_eq!(all.json, json!({"vhost": null}));
    let one = format!("{path}?vhost=%2F");
    let exported = api.expect(200, "GET", &one, "").await;
    assert_eq!(exported.json, json!({"vhost": "/"}));
    let unknown = format!("{path}?vhost=none");
    let refused = api.expect(404, "GET", &unknown, "").await;
    assert_eq!(refused.json["detail"], "there is no vhost \"none\"");

    let report = api.expect(200, "POST", &one, "{}").await;
    assert_eq!(report.json["made"]["queues"], 1);
    let conflict = api.expect(409, "POST", path, "conflict").await;
    let errors = json!([{"field": "queues[0]", "message": "differs"}]);
    assert_eq!(conflict.json["errors"], errors);
    assert_eq!(conflict.json["title"], "Conflict");
    let invalid = api.expect(422, "POST", path, "invalid").await;
    assert_eq!(invalid.json["errors"][0]["field"], "definitions");
    let large = " ".repeat((1 << 20) + 1);
    api.expect(413, "POST", path, large).await;
}
