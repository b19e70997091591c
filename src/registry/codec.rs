//! Instances, events and routes as bytes, for a journal that outlives the process.
//!
//! Each value begins with the version of its coding. Numbers are LEB128, texts have their length before them.

mod bytes;
mod registration;

use std::sync::{Arc, OnceLock};

use self::bytes::{
    ByteReader, InvalidRecord, put_index, put_number, put_option, put_optional_text, put_text,
};
use crate::model::{
    Epoch, Event, EventKind, Instance, LastSeen, Lease, Override, OverrideStatus, Revision, Route,
    RouteId, ServiceName, Status, Timestamp,
};

/// The version of the coding that is written.
const VERSION: u8 = 2;
/// The version without owners, which is still read.
const WITHOUT_OWNERS: u8 = 1;
const OVERRIDES: [OverrideStatus; 2] = [OverrideStatus::Unhealthy, OverrideStatus::Stopping];

/// Checks the version at the start of a value.
fn begin(bytes: &[u8]) -> Result<ByteReader<'_>, InvalidRecord> {
    let mut reader = ByteReader::new(bytes);
    match reader.byte()? {
        VERSION => reader.has_owners = true,
        WITHOUT_OWNERS => (),
        _ => return Err(InvalidRecord),
    }
    Ok(reader)
}

pub(super) fn put_instance(out: &mut Vec<u8>, instance: &Instance) {
    out.push(VERSION);
    put_versionless(out, instance);
}

/// Reads an instance; its last heartbeat is the start of the registry's clock.
pub(super) fn instance(bytes: &[u8]) -> Result<Instance, InvalidRecord> {
    read_instance(&mut begin(bytes)?)
}

fn put_versionless(out: &mut Vec<u8>, instance: &Instance) {
    registration::put(out, &instance.registration);
    put_index(out, &Status::ALL, &instance.observed);
    put_option(out, instance.overridden.as_deref(), |out, one| {
        put_index(out, &OVERRIDES, &one.status);
        put_optional_text(out, one.reason.as_deref());
        put_timestamp(out, one.since);
    });
    match instance.lease {
        Lease::Running => out.push(0),
        Lease::Held => out.push(1),
        Lease::Connection(number) => {
            out.push(2);
            put_number(out, number);
        }
        Lease::Lost => out.push(3),
        Lease::Unlimited => out.push(4),
    }
    put_timestamp(out, instance.registered_at);
    put_number(out, instance.revision.0);
    put_number(out, instance.incarnation);
    put_optional_text(out, instance.reason.as_deref());
    put_optional_text(out, instance.owner.as_deref());
}

fn read_instance(reader: &mut ByteReader<'_>) -> Result<Instance, InvalidRecord> {
    let registration = registration::read(reader)?;
    let observed = reader.index(&Status::ALL)?;
    let overridden = match reader.flag()? {
        false => None,
        true => Some(Arc::new(Override {
            status: reader.index(&OVERRIDES)?,
            reason: reader.optional_text()?,
            since: read_timestamp(reader)?,
        })),
    };
    let lease = match reader.byte()? {
        0 => Lease::Running,
        1 => Lease::Held,
        2 => Lease::Connection(reader.number()?),
        3 => Lease::Lost,
        4 => Lease::Unlimited,
        _ => return Err(InvalidRecord),
    };
    let bytes = Instance::memory(&registration);
    Ok(Instance {
        registration: Arc::new(registration),
        observed,
        overridden,
        lease,
        registered_at: read_timestamp(reader)?,
        revision: Revision(reader.number()?),
        incarnation: reader.number()?,
        reason: reader.reason()?,
        owner: match reader.has_owners {
            true => reader.reason()?,
            false => None,
        },
        last_seen: Arc::new(LastSeen::new(0)),
        bytes,
        encoded: OnceLock::new(),
    })
}

pub(super) fn put_event(out: &mut Vec<u8>, event: &Event) {
    out.push(VERSION);
    put_index(out, &EventKind::ALL, &event.kind);
    put_number(out, event.revision.0);
    put_timestamp(out, event.timestamp);
    let put_status = |out: &mut Vec<u8>, status| put_index(out, &Status::ALL, &status);
    put_option(out, event.status, put_status);
    put_option(out, event.previous_status, put_status);
    put_optional_text(out, event.reason.as_deref());
    // The instance names itself and its service; a guard has a service only.
    put_option(out, event.instance.as_deref(), put_versionless);
    let name = event.service_name.as_ref().map(ServiceName::as_str);
    put_optional_text(out, name.filter(|_| event.instance.is_none()));
    put_option(out, event.route.as_deref(), put_bare_route);
}

pub(super) fn event(bytes: &[u8], epoch: Epoch) -> Result<Event, InvalidRecord> {
    let reader = &mut begin(bytes)?;
    let status = |reader: &mut ByteReader<'_>| match reader.flag()? {
        true => reader.index(&Status::ALL).map(Some),
        false => Ok(None),
    };
    let kind = reader.index(&EventKind::ALL)?;
    let revision = Revision(reader.number()?);
    let timestamp = read_timestamp(reader)?;
    let (status, previous_status) = (status(reader)?, status(reader)?);
    let reason = reader.reason()?;
    let instance = match reader.flag()? {
        true => Some(Arc::new(read_instance(reader)?)),
        false => None,
    };
    let of_guard = match reader.optional_text()? {
        Some(name) => Some(ServiceName::parse(&name).map_err(|_| InvalidRecord)?),
        None => None,
    };
    let route = match reader.flag()? {
        true => Some(Arc::new(read_route(reader)?)),
        false => None,
    };
    let of_instance = instance.as_ref().map(|one| one.name().clone());
    Ok(Event {
        epoch,
        revision,
        kind,
        service_id: instance.as_ref().map(|one| one.id().clone()),
        service_name: of_instance.or(of_guard),
        status,
        previous_status,
        reason,
        timestamp,
        instance,
        route,
        encoded: OnceLock::new(),
    })
}

pub(super) fn put_route(out: &mut Vec<u8>, route: &Route) {
    out.push(VERSION);
    put_bare_route(out, route);
}

pub(super) fn route(bytes: &[u8]) -> Result<Route, InvalidRecord> {
    read_route(&mut begin(bytes)?)
}

fn put_bare_route(out: &mut Vec<u8>, route: &Route) {
    put_text(out, route.route_id.as_str());
    put_text(out, &route.path_prefix);
    put_text(out, route.service_name.as_str());
    out.push(u8::from(route.strip_prefix));
    put_number(out, route.methods.len() as u64);
    for method in &route.methods {
        put_text(out, method);
    }
    put_number(out, zigzag(route.priority.into()));
    put_number(out, route.revision.0);
}

fn read_route(reader: &mut ByteReader<'_>) -> Result<Route, InvalidRecord> {
    let route_id = RouteId::parse(reader.text()?).map_err(|_| InvalidRecord)?;
    let path_prefix = reader.boxed()?;
    let service_name = ServiceName::parse(reader.text()?).map_err(|_| InvalidRecord)?;
    Ok(Route {
        route_id,
        path_prefix,
        service_name,
        strip_prefix: reader.flag()?,
        methods: reader.list(ByteReader::boxed)?,
        priority: i32::try_from(unzigzag(reader.number()?)).map_err(|_| InvalidRecord)?,
        revision: Revision(reader.number()?),
        encoded: OnceLock::new(),
    })
}

/// The epoch and the highest incarnation given.
pub(super) fn put_counters(out: &mut Vec<u8>, epoch: Epoch, incarnation: u64) {
    out.push(VERSION);
    put_number(out, epoch.0);
    put_number(out, incarnation);
}

pub(super) fn counters(bytes: &[u8]) -> Result<(Epoch, u64), InvalidRecord> {
    let mut reader = begin(bytes)?;
    Ok((Epoch(reader.number()?), reader.number()?))
}

fn put_timestamp(out: &mut Vec<u8>, at: Timestamp) {
    put_number(out, zigzag(at.0));
}

fn read_timestamp(reader: &mut ByteReader<'_>) -> Result<Timestamp, InvalidRecord> {
    Ok(Timestamp(unzigzag(reader.number()?)))
}

/// Small numbers stay short, whatever their sign.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests;
