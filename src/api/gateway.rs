//! Answers for gateways: where one request goes, and where all of them go.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    instance::{InstanceJson, instance},
    json::Json,
    route::{RouteAnswer, route},
    vocabulary::encode,
};
use crate::model::{Cursor, Epoch, Instance, Revision, Route, ServiceId, Timestamp};

/// An instance as a gateway needs it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoint<'a> {
    /// Its identity.
    service_id: &'a ServiceId,
    /// A name or an address.
    host: &'a str,
    /// 1-65535.
    port: u16,
    /// Its share of the traffic.
    weight: u16,
    /// Where it runs.
    zone: Option<&'a str>,
    /// Its version.
    version: &'a str,
}

/// A route and the instances that get its requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Target)]
pub struct RouteTarget<'a> {
    /// The route.
    #[serde(flatten)]
    route: RouteAnswer,
    /// The healthy instances.
    endpoints: Vec<Endpoint<'a>>,
}

/// Every route with its healthy instances.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GatewayConfig)]
pub struct GatewayAnswer<'a> {
    /// The epoch of the revisions.
    epoch: Epoch,
    /// The last change of any of it.
    revision: Revision,
    /// The same as a cursor, for the next long poll.
    cursor: Cursor,
    /// Best match first.
    routes: Vec<RouteTarget<'a>>,
}

/// Every route with its healthy endpoints:
/// `{"epoch","revision","cursor","routes":[{…,"endpoints":[{"service_id","host","port","weight","zone","version"}]}]}`.
pub fn gateway_config<'a>(
    cursor: Cursor,
    routes: impl IntoIterator<Item = (&'a Arc<Route>, &'a [Arc<Instance>])>,
) -> Vec<u8> {
    let target = |(route, healthy): (&'a Arc<Route>, &'a [Arc<Instance>])| RouteTarget {
        route: RouteAnswer::of(route),
        endpoints: healthy.iter().map(|one| endpoint(one)).collect(),
    };
    encode(&GatewayAnswer {
        epoch: cursor.epoch,
        revision: cursor.revision,
        cursor,
        routes: routes.into_iter().map(target).collect(),
    })
}

fn endpoint(instance: &Instance) -> Endpoint<'_> {
    let registration = &*instance.registration;
    Endpoint {
        service_id: &registration.service_id,
        host: &registration.host,
        port: registration.port,
        weight: registration.weight,
        zone: registration.zone.as_deref(),
        version: &registration.version,
    }
}

/// Where a request goes.
#[derive(Clone, Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Resolved)]
pub struct ResolvedJson {
    /// The route that matches.
    pub route: RouteAnswer,
    /// The instance that gets the request.
    pub instance: InstanceJson,
    /// The path to ask the instance for.
    pub path: String,
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
