//! A registration and its checks as bytes.

use super::bytes::{
    ByteReader, InvalidRecord, put_duration, put_index, put_number, put_optional_text, put_text,
};
use crate::model::{
    Check, CheckKind, CheckOptions, HttpCheck, LeaseKind, Metadata, Registration, ServiceId,
    ServiceName, Standing,
};

/// Added to the number of a check's kind when options follow.
const WITH_OPTIONS: u8 = 0x80;

pub(super) fn put(out: &mut Vec<u8>, registration: &Registration) {
    put_text(out, registration.service_id.as_str());
    put_text(out, registration.service_name.as_str());
    put_text(out, &registration.host);
    put_number(out, registration.port.into());
    put_text(out, registration.metadata.as_str());
    put_optional_text(out, registration.health_check_url.as_deref());
    put_number(out, registration.tags.len() as u64);
    for tag in &registration.tags {
        put_text(out, tag);
    }
    put_text(out, &registration.version);
    put_duration(out, registration.ttl);
    put_index(out, &LeaseKind::ALL, &registration.lease);
    put_number(out, registration.weight.into());
    put_optional_text(out, registration.zone.as_deref());
    put_number(out, registration.checks.len() as u64);
    for check in &registration.checks {
        put_check(out, check);
    }
}

pub(super) fn read(reader: &mut ByteReader<'_>) -> Result<Registration, InvalidRecord> {
    Ok(Registration {
        service_id: ServiceId::parse(reader.text()?).map_err(|_| InvalidRecord)?,
        service_name: ServiceName::parse(reader.text()?).map_err(|_| InvalidRecord)?,
        host: reader.boxed()?,
        port: reader.small()?,
        metadata: Metadata::stored(reader.text()?).ok_or(InvalidRecord)?,
        health_check_url: reader.optional_text()?,
        tags: reader.list(ByteReader::boxed)?,
        version: reader.boxed()?,
        ttl: reader.duration()?,
        lease: reader.index(&LeaseKind::ALL)?,
        weight: reader.small()?,
        zone: reader.optional_text()?,
        checks: reader.list(read_check)?,
    })
}

fn put_check(out: &mut Vec<u8>, check: &Check) {
    put_text(out, &check.name);
    put_duration(out, check.interval);
    put_duration(out, check.timeout);
    put_number(out, check.healthy_after.into());
    put_number(out, check.unhealthy_after.into());
    let with = if check.options.is_some() {
        WITH_OPTIONS
    } else {
        0
    };
    match &check.kind {
        CheckKind::Http(http) => {
            out.push(with);
            put_http(out, http);
        }
        CheckKind::Tcp { host, port } => {
            out.push(with | 1);
            put_text(out, host);
            put_number(out, (*port).into());
        }
        CheckKind::Grpc {
            host,
            port,
            service,
            tls,
            tls_skip_verify,
        } => {
            out.push(with | 2);
            put_text(out, host);
            put_number(out, (*port).into());
            put_text(out, service);
            out.extend([u8::from(*tls), u8::from(*tls_skip_verify)]);
        }
        CheckKind::Ttl => out.push(with | 3),
        CheckKind::Udp { host, port } => {
            out.push(with | 4);
            put_text(out, host);
            put_number(out, (*port).into());
        }
        CheckKind::H2Ping {
            host,
            port,
            tls,
            tls_skip_verify,
        } => {
            out.push(with | 5);
            put_text(out, host);
            put_number(out, (*port).into());
            out.extend([u8::from(*tls), u8::from(*tls_skip_verify)]);
        }
        CheckKind::Alias { service_id } => {
            out.push(with | 6);
            put_text(out, service_id);
        }
        CheckKind::Script { args } => {
            out.push(with | 7);
            put_number(out, args.len() as u64);
            for arg in args {
                put_text(out, arg);
            }
        }
    }
    if let Some(options) = &check.options {
        put_options(out, options);
    }
}

fn put_options(out: &mut Vec<u8>, options: &CheckOptions) {
    put_text(out, &options.title);
    put_text(out, &options.notes);
    put_index(out, &Standing::ALL, &options.initial);
    put_number(out, options.warning_after.into());
    put_duration(out, options.remove_after.unwrap_or_default());
}

fn read_options(reader: &mut ByteReader<'_>) -> Result<CheckOptions, InvalidRecord> {
    Ok(CheckOptions {
        title: reader.boxed()?,
        notes: reader.boxed()?,
        initial: reader.index(&Standing::ALL)?,
        warning_after: reader.small()?,
        remove_after: Some(reader.duration()?).filter(|after| !after.is_zero()),
    })
}

fn read_check(reader: &mut ByteReader<'_>) -> Result<Check, InvalidRecord> {
    let mut check = Check {
        name: reader.boxed()?,
        interval: reader.duration()?,
        timeout: reader.duration()?,
        healthy_after: reader.small()?,
        unhealthy_after: reader.small()?,
        options: None,
        kind: CheckKind::Ttl,
    };
    let kind = reader.byte()?;
    check.kind = match kind & !WITH_OPTIONS {
        0 => CheckKind::Http(Box::new(read_http(reader)?)),
        1 => CheckKind::Tcp {
            host: reader.boxed()?,
            port: reader.small()?,
        },
        2 => CheckKind::Grpc {
            host: reader.boxed()?,
            port: reader.small()?,
            service: reader.boxed()?,
            tls: reader.flag()?,
            tls_skip_verify: reader.flag()?,
        },
        3 => CheckKind::Ttl,
        4 => CheckKind::Udp {
            host: reader.boxed()?,
            port: reader.small()?,
        },
        5 => CheckKind::H2Ping {
            host: reader.boxed()?,
            port: reader.small()?,
            tls: reader.flag()?,
            tls_skip_verify: reader.flag()?,
        },
        6 => CheckKind::Alias {
            service_id: reader.boxed()?,
        },
        7 => CheckKind::Script {
            args: reader.list(ByteReader::boxed)?,
        },
        _ => return Err(InvalidRecord),
    };
    if kind & WITH_OPTIONS != 0 {
        check.options = Some(Box::new(read_options(reader)?));
    }
    Ok(check)
}

fn put_http(out: &mut Vec<u8>, http: &HttpCheck) {
    put_text(out, &http.url);
    put_text(out, &http.method);
    put_number(out, http.headers.len() as u64);
    for (name, value) in &http.headers {
        put_text(out, name);
        put_text(out, value);
    }
    put_number(out, http.expected.len() as u64);
    for codes in &http.expected {
        put_number(out, (*codes.start()).into());
        put_number(out, (*codes.end()).into());
    }
    out.extend([u8::from(http.tls_skip_verify), http.redirects]);
}

fn read_http(reader: &mut ByteReader<'_>) -> Result<HttpCheck, InvalidRecord> {
    Ok(HttpCheck {
        url: reader.boxed()?,
        method: reader.boxed()?,
        headers: reader.list(|reader| Ok((reader.boxed()?, reader.boxed()?)))?,
        expected: reader.list(|reader| Ok(reader.small()?..=reader.small()?))?,
        tls_skip_verify: reader.flag()?,
        redirects: reader.byte()?,
    })
}
