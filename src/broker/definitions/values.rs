//! Arguments as JSON has them, as field tables: numbers become 64-bit ones, as in RabbitMQ.

use serde_json::{Map, Number, Value};

use crate::broker::wire::{
    Table, ValueRef,
    table::{ArrayBuilder, TableBuilder},
};

/// The longest name of a field, in bytes.
const NAME_MAX: usize = 255;

/// A JSON object as a field table.
///
/// # Errors
/// A name or a number in it is too long.
pub fn table(fields: &Map<String, Value>) -> Result<Table, String> {
    let mut table = TableBuilder::new();
    for (name, value) in fields {
        if name.len() > NAME_MAX {
            return Err(format!("has a name that is longer than {NAME_MAX} bytes"));
        }
        with_value(value, &mut |value| {
            table.put(name, value);
        })?;
    }
    Ok(table.build())
}

fn with_value(value: &Value, put: &mut dyn FnMut(ValueRef<'_>)) -> Result<(), String> {
    match value {
        Value::Null => put(ValueRef::Void),
        Value::Bool(value) => put(ValueRef::Bool(*value)),
        Value::Number(value) => put(number(value)?),
        Value::String(text) => put(ValueRef::Str(text.as_bytes())),
        Value::Array(items) => {
            let mut array = ArrayBuilder::new();
            for item in items {
                with_value(item, &mut |value| {
                    array.push(value);
                })?;
            }
            put(ValueRef::Array(array.view()));
        }
        Value::Object(fields) => put(ValueRef::Table(table(fields)?.view())),
    }
    Ok(())
}

fn number(value: &Number) -> Result<ValueRef<'static>, String> {
    if let Some(number) = value.as_i64() {
        return Ok(ValueRef::I64(number));
    }
    match value.as_f64() {
        Some(number) if !value.is_u64() => Ok(ValueRef::F64(number)),
        _ => Err(format!("has {value}, which is beyond 64 bits with a sign")),
    }
}
