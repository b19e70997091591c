//! Filter expressions, such as `Service.Meta.env == "prod" and not "old" in Service.Tags`: parsed once, then applied to
//! each item as it is shown. Pure.

mod parse;

use std::fmt;

use regex::Regex;
use serde_json::Value;

use super::query::go_bool;

/// The longest expression, in bytes.
const BYTES_MAX: usize = 4096;
/// How deep parentheses and `not` may be nested.
const DEPTH_MAX: usize = 32;
/// The largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// An expression that is true or false of an item.
#[derive(Clone, Debug)]
pub(in crate::http) struct FilterExpression(FilterNode);

/// Why a text is no expression, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::http) struct FilterFault {
    /// The place in the text, in characters from 1.
    at: usize,
    what: String,
    /// The text from there on.
    rest: String,
}

impl fmt::Display for FilterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1:{}: {}", self.at, self.what)?;
        match self.rest.is_empty() {
            true => write!(f, ", but the expression ends there"),
            false => write!(f, " at \"{}\"", self.rest.escape_debug()),
        }
    }
}

#[derive(Clone, Debug)]
enum FilterNode {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Is(Selector, Test),
}

/// The names on the way to a value.
type Selector = Box<[Box<str>]>;

#[derive(Clone, Debug)]
enum Test {
    Equal(Box<str>),
    /// The value is a list with this item, an object with this key, or a text with this part.
    Contains(Box<str>),
    Matches(Regex),
    Empty,
}

impl FilterExpression {
    /// Parses an expression.
    ///
    /// # Errors
    /// It is too long, nested too deep or not an expression.
    pub(in crate::http) fn parse(text: &str) -> Result<Self, FilterFault> {
        parse::parse(text).map(Self)
    }

    /// Whether it is true of an item.
    pub(in crate::http) fn is_true(&self, item: &Value) -> bool {
        self.0.is_true(item)
    }
}

impl FilterNode {
    /// The parser bounds the depth.
    fn is_true(&self, item: &Value) -> bool {
        match self {
            Self::And(one, other) => one.is_true(item) && other.is_true(item),
            Self::Or(one, other) => one.is_true(item) || other.is_true(item),
            Self::Not(inner) => !inner.is_true(item),
            Self::Is(selector, test) => test.holds(find(item, selector)),
        }
    }
}

/// The value at the end of a selector; none where a name on the way is missing.
fn find<'a>(item: &'a Value, selector: &[Box<str>]) -> Option<&'a Value> {
    selector
        .iter()
        .try_fold(item, |value, name| value.get(&**name))
}

impl Test {
    fn holds(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Empty);
        };
        match self {
            Self::Equal(wanted) => equals(value, wanted),
            Self::Contains(wanted) => match value {
                Value::Array(items) => items.iter().any(|item| equals(item, wanted)),
                Value::Object(entries) => entries.contains_key(&**wanted),
                Value::String(text) => text.contains(&**wanted),
                _ => false,
            },
            Self::Matches(pattern) => match value {
                Value::String(text) => pattern.is_match(text),
                Value::Array(items) => {
                    let texts = items.iter().filter_map(Value::as_str);
                    texts.into_iter().any(|text| pattern.is_match(text))
                }
                _ => false,
            },
            Self::Empty => match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(entries) => entries.is_empty(),
                Value::Bool(_) | Value::Number(_) => false,
            },
        }
    }
}

/// Numbers and flags are compared by their values, all else as text.
fn equals(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => go_bool(wanted) == Some(*flag),
        Value::Number(number) => match (number.as_i64(), wanted.parse::<i64>()) {
            (Some(number), Ok(wanted)) => number == wanted,
            _ => number.as_f64() == wanted.parse().ok(),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests;
