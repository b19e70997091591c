//! Checks as JSON.

use super::joined;
use crate::{
    api::json::Json,
    model::{Check, CheckKind, HttpCheck},
};

/// Writes a check so that it is read back as the same one.
pub(in crate::api) fn write(json: &mut Json, check: &Check) {
    json.open(b'{');
    json.key("type").text(check.kind.as_str());
    json.key("name").text(&check.name);
    match &check.kind {
        CheckKind::Http(http) => write_http(json, http),
        CheckKind::Tcp { host, port } | CheckKind::Udp { host, port } => {
            json.key("address").text(&joined(host, *port));
        }
        CheckKind::Grpc {
            host,
            port,
            service,
            tls,
            tls_skip_verify,
        } => {
            json.key("address").text(&joined(host, *port));
            json.key("service").text(service);
            json.key("tls").value(tls);
            json.key("tls_skip_verify").value(tls_skip_verify);
        }
        CheckKind::H2Ping {
            host,
            port,
            tls,
            tls_skip_verify,
        } => {
            json.key("address").text(&joined(host, *port));
            json.key("tls").value(tls);
            json.key("tls_skip_verify").value(tls_skip_verify);
        }
        CheckKind::Alias { service_id } => json.key("service_id").text(service_id),
        CheckKind::Script { args } => json.key("args").value(args),
        CheckKind::Ttl => {}
    }
    json.key("interval").span(check.interval);
    json.key("timeout").span(check.timeout);
    json.key("healthy_after").value(check.healthy_after);
    json.key("unhealthy_after").value(check.unhealthy_after);
    if let Some(options) = &check.options {
        json.key("title").text(&options.title);
        json.key("notes").text(&options.notes);
        json.key("initial").text(options.initial.as_str());
        json.key("warning_after").value(options.warning_after);
        if let Some(after) = options.remove_after {
            json.key("remove_after").span(after);
        }
    }
    json.close(b'}');
}

fn write_http(json: &mut Json, http: &HttpCheck) {
    json.key("url").text(&http.url);
    json.key("method").text(&http.method);
    json.key("headers").open(b'{');
    for (name, value) in &http.headers {
        json.key(name).text(value);
    }
    json.close(b'}');
    json.key("expected").open(b'[');
    for range in &http.expected {
        let (first, last) = (range.start(), range.end());
        let text = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        json.item().text(&text);
    }
    json.close(b']');
    json.key("tls_skip_verify").value(http.tls_skip_verify);
    json.key("redirects").value(http.redirects);
}
