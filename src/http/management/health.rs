//! Whether the broker works: RabbitMQ's health checks, and the aliveness test of a vhost.

use axum::{http::StatusCode, response::Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::{ManagementAnswer, ManagementRefusal, fine},
    ask::Ask,
    node::ports,
};
use crate::{
    broker::{
        local::{AfterGet, LocalError, LocalPublish},
        wire::{ShortStr, method::queue::Declare, properties::PropertyList},
    },
    http::answer::{json as json_answer, json_as},
    model::Timestamp,
};

const DAY_MS: i64 = 86_400_000;

/// The queue of the aliveness test, as in RabbitMQ.
const ALIVENESS_QUEUE: &str = "aliveness-test";

fn failed(value: &Value) -> Response {
    json_as(StatusCode::SERVICE_UNAVAILABLE, value.to_string())
}

/// `GET /api/health/checks/alarms` and `local-alarms`
pub(super) async fn alarms(ask: Ask) -> ManagementAnswer {
    let overview = ask.state.broker.totals().await;
    match overview.memory_alarm {
        false => fine(),
        true => Ok(failed(&json!({
            "status": "failed",
            "reason": "There are alarms in effect",
            "alarms": [{"node": super::names::NODE, "resource": "memory"}],
        }))),
    }
}

/// `GET /api/health/checks/certificate-expiration/{within}/{unit}`, of the certificate in `broker.tls`
pub(super) async fn certificate_expiration(ask: Ask) -> ManagementAnswer {
    let within = ask.name().parse::<u32>();
    let within = within.map_err(|_| ManagementRefusal::bad("Invalid expiration value."))?;
    let days: i64 = match ask.later_name(1) {
        "days" => 1,
        "weeks" => 7,
        "months" => 30,
        "years" => 365,
        _ => {
            let reason = "Time unit not recognised. Use days, weeks, months, years.";
            return Err(ManagementRefusal::bad(reason));
        }
    };
    let Some(end) = ask.state.broker().certificate_end() else {
        return fine();
    };
    let end = Timestamp(i64::try_from(end).unwrap_or(i64::MAX).saturating_mul(1000));
    let period = i64::from(within).saturating_mul(days * DAY_MS);
    if end.0 > ask.state.app.catalog.now().0.saturating_add(period) {
        return fine();
    }
    Ok(failed(&json!({
        "status": "failed",
        "reason": "Certificates expiring",
        "expired": [{
            "name": super::names::NODE,
            "port": ask.state.addresses.amqps.map(|address| address.port()),
            "certfile_expires_on": end.to_string(),
        }],
    })))
}

/// Checks of what there is one node of, or none.
pub(super) async fn always_fine(_: Ask) -> ManagementAnswer {
    fine()
}

/// The same with a reason, as RabbitMQ answers on a single node.
pub(super) async fn single_node(_: Ask) -> ManagementAnswer {
    let answer = json!({"status": "ok", "reason": "single node cluster"});
    Ok(json_answer(answer.to_string()))
}

/// `GET /api/health/checks/port-listener/{port}`
pub(super) async fn port_listener(ask: Ask) -> ManagementAnswer {
    let port = ask.name().parse::<u16>();
    let port = port.map_err(|_| ManagementRefusal::bad("Invalid port"))?;
    let ports: Vec<u16> = ports(&ask.state)
        .into_iter()
        .map(|(_, port)| port)
        .collect();
    if ports.contains(&port) {
        let answer = json!({"status": "ok", "port": port});
        return Ok(json_answer(answer.to_string()));
    }
    Ok(failed(&json!({
        "status": "failed",
        "reason": "No active listener",
        "missing": port,
        "ports": ports,
    })))
}

/// `GET /api/health/checks/protocol-listener/{protocol}`
pub(super) async fn protocol_listener(ask: Ask) -> ManagementAnswer {
    let wanted = ask.name().to_ascii_lowercase();
    let all = ports(&ask.state);
    if all.iter().any(|(names, _)| names.contains(&&*wanted)) {
        let answer = json!({"status": "ok", "protocol": ask.name()});
        return Ok(json_answer(answer.to_string()));
    }
    let protocols: Vec<_> = all.iter().filter_map(|(names, _)| names.first()).collect();
    Ok(failed(&json!({
        "status": "failed",
        "reason": "No active listener",
        "missing": ask.name(),
        "protocols": protocols,
    })))
}

/// `GET /api/aliveness-test/{vhost}`: declares a queue, publishes a message, takes it.
pub(super) async fn aliveness(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    let broker = ask.state.broker();
    let tested = broker.operate(&ask.user, vhost, async move |mut channel| {
        let queue = ShortStr::copied(ALIVENESS_QUEUE.as_bytes()).unwrap_or_default();
        let declare = Declare {
            queue: queue.clone(),
            ..Declare::default()
        };
        channel.carry_out(declare).await?;
        let message = LocalPublish {
            exchange: ShortStr::EMPTY,
            routing_key: queue.clone(),
            properties: PropertyList::default().build(),
            body: Bytes::from_static(b"test_message"),
        };
        channel.publish_unless_blocked(message).await?;
        // Another test may have taken it: its own is there for this one.
        let got = channel
            .get_some(&queue, 1, usize::MAX, AfterGet::Ack)
            .await?;
        Ok::<_, LocalError>(got.len())
    });
    tested.await?;
    fine()
}
