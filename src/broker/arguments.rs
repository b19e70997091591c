//! Comparing the arguments of a second declaration with those of the first, in RabbitMQ's words.

use super::{
    exception::Exception,
    wire::{Table, ValueRef},
};

/// Whether two values are the same to RabbitMQ: numbers by value across their widths.
pub fn same_value(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    if let (Some(a), Some(b)) = (a.as_integer(), b.as_integer()) {
        return a == b;
    }
    match (as_float(a), as_float(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

fn as_float(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::F32(value) => Some(value.into()),
        ValueRef::F64(value) => Some(value),
        _ => None,
    }
}

/// Refuses the second declaration if it has another value for `key`.
pub fn check_same_argument(
    key: &str,
    current: &Table,
    received: &Table,
    resource: &str,
) -> Result<(), Exception> {
    let current = current.field(key.as_bytes());
    let received = received.field(key.as_bytes());
    let (received, current) = match (received, current) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if same_value(received, current) => return Ok(()),
        (Some(received), Some(current)) => (quoted(received), quoted(current)),
        (received, current) => (typed(received), typed(current)),
    };
    Err(inequivalent(key, resource, &received, &current))
}

/// Refuses the second declaration if this property differs.
pub fn check_same_flag(
    key: &str,
    current: bool,
    received: bool,
    resource: &str,
) -> Result<(), Exception> {
    if current == received {
        return Ok(());
    }
    Err(inequivalent(
        key,
        resource,
        &format!("'{received}'"),
        &format!("'{current}'"),
    ))
}

/// 406 for a second declaration that differs.
pub fn inequivalent(key: &str, resource: &str, received: &str, current: &str) -> Exception {
    Exception::precondition(format!(
        "inequivalent arg '{key}' for {resource}: received {received} but current is {current}"
    ))
}

fn quoted(value: ValueRef<'_>) -> String {
    format!("'{}'", plain(value))
}

fn typed(value: Option<ValueRef<'_>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => {
            format!(
                "the value '{}' of type '{}'",
                plain(value),
                value.type_name()
            )
        }
    }
}

/// A value as Erlang prints it.
pub fn plain(value: ValueRef<'_>) -> String {
    if let Some(number) = value.as_integer() {
        return number.to_string();
    }
    match value {
        ValueRef::Bool(value) => value.to_string(),
        ValueRef::Str(text) | ValueRef::Bytes(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::F32(value) => value.to_string(),
        ValueRef::F64(value) => value.to_string(),
        ValueRef::Timestamp(value) => value.to_string(),
        ValueRef::Void => "undefined".to_owned(),
        other => format!("{other:?}"),
    }
}
