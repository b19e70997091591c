//! What a gateway is told: where a request goes, and where all of them go.

use std::{collections::HashMap, sync::Arc};

use super::{instance, json::Json, route};
use crate::model::{Cursor, Instance, Route, ServiceName, Timestamp};

/// Every route with its healthy endpoints:
/// `{"epoch","revision","cursor","routes":[{…,"endpoints":[{"service_id","host","port","weight","zone","version"}]}]}`.
pub fn gateway_config<'a>(
    cursor: Cursor,
    routes: impl IntoIterator<Item = (&'a Arc<Route>, &'a [Arc<Instance>])>,
) -> Vec<u8> {
    let mut known: HashMap<&ServiceName, Vec<u8>> = HashMap::new();
    let mut json = Json::with_capacity(4096);
    json.open(b'{');
    json.key("epoch").text(&cursor.epoch.to_string());
    json.key("revision").number(cursor.revision.0);
    json.key("cursor").text(&cursor.to_string());
    json.key("routes").open(b'[');
    for (one, healthy) in routes {
        let endpoints = known
            .entry(&one.service_name)
            .or_insert_with(|| endpoints(healthy));
        let encoded = route(one);
        // The route's own object, gone on with.
        json.item().raw(&encoded[..encoded.len() - 1]);
        json.key("endpoints").raw(endpoints);
        json.close(b'}');
    }
    json.close(b']');
    json.close(b'}');
    json.into_bytes()
}

fn endpoints(healthy: &[Arc<Instance>]) -> Vec<u8> {
    let mut json = Json::with_capacity(2 + healthy.len() * 128);
    json.open(b'[');
    for one in healthy {
        let said = &one.registration;
        json.item().open(b'{');
        json.key("service_id").text(said.service_id.as_str());
        json.key("host").text(&said.host);
        json.key("port").number(said.port);
        json.key("weight").number(said.weight);
        json.key("zone").text_or_null(said.zone.as_deref());
        json.key("version").text(&said.version);
        json.close(b'}');
    }
    json.close(b']');
    json.into_bytes()
}

/// Where a request goes: `{"route","instance","path"}`.
pub fn resolved(one: &Route, to: &Instance, last_heartbeat: Timestamp, path: &str) -> Vec<u8> {
    let mut json = Json::with_capacity(1024);
    json.open(b'{');
    json.key("route").raw(&route(one));
    json.key("instance");
    instance(json.bytes_mut(), to, last_heartbeat);
    json.key("path").text(path);
    json.close(b'}');
    json.into_bytes()
}
