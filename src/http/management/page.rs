//! Which part of a list is answered: filter, order, page, columns. Pure.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::answer::ManagementRefusal;

/// The most items of a page.
const PAGE_SIZE_MAX: usize = 500;
const PAGE_SIZE_DEFAULT: usize = 100;
/// The longest expression that filters names, in bytes, and the memory that it may take.
const PATTERN_BYTES_MAX: usize = 1024;
const PATTERN_MEMORY_MAX: usize = 1 << 20;

/// What is asked of a list.
#[derive(Debug)]
pub(super) struct PageQuery {
    page: Option<(usize, usize)>,
    name: Option<NameFilter>,
    sort: Option<String>,
    reverse: bool,
    columns: Vec<String>,
}

#[derive(Debug)]
enum NameFilter {
    Part(String),
    Pattern(Regex),
}

impl NameFilter {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Part(part) => name.contains(&**part),
            Self::Pattern(pattern) => pattern.is_match(name),
        }
    }
}

impl PageQuery {
    /// Reads the parameters of a query.
    pub(super) fn read(query: &[(String, String)]) -> Result<Self, ManagementRefusal> {
        let value = |name: &str| {
            let mut query = query.iter();
            let found = query.find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        let invalid = || ManagementRefusal::bad("Pagination parameters are invalid");
        let number = |text: &str| text.parse::<usize>().map_err(|_| invalid());
        let size = value("page_size").map(number).transpose()?;
        let page = value("page").map(number).transpose()?;
        if page == Some(0) || size.is_some_and(|size| size == 0 || size > PAGE_SIZE_MAX) {
            return Err(invalid());
        }
        let name = value("name").filter(|name| !name.is_empty());
        let name = match (name, value("use_regex")) {
            (Some(pattern), Some("true")) => Some(NameFilter::Pattern(compiled(pattern)?)),
            (Some(part), _) => Some(NameFilter::Part(part.to_owned())),
            (None, _) => None,
        };
        let columns = value("columns").unwrap_or_default().split(',');
        let columns = columns.filter(|column| !column.is_empty());
        Ok(Self {
            page: page.map(|page| (page, size.unwrap_or(PAGE_SIZE_DEFAULT))),
            name,
            sort: value("sort")
                .filter(|sort| !sort.is_empty())
                .map(str::to_owned),
            reverse: value("sort_reverse") == Some("true"),
            columns: columns.map(str::to_owned).collect(),
        })
    }

    /// The answer: a list, or a page of it. `items` are in their usual order, each with its name; `show` makes the JSON
    /// of those that are needed.
    pub(super) fn answer<T>(
        &self,
        items: Vec<(String, T)>,
        mut show: impl FnMut(&T) -> Value,
    ) -> Result<Value, ManagementRefusal> {
        let total = items.len();
        let mut items = items;
        // Without pages RabbitMQ filters nothing.
        if let (Some(filter), Some(_)) = (&self.name, self.page) {
            items.retain(|(name, _)| filter.matches(name));
        }
        let filtered = items.len();
        let mut shown = Vec::new();
        match self.sort.as_deref() {
            None => {}
            Some("name") => items.sort_by(|one, other| one.0.cmp(&other.0)),
            Some(key) => {
                shown = items.iter().map(|(_, item)| show(item)).collect();
                shown.sort_by(|one, other| compared(at(one, key), at(other, key)));
            }
        }
        if self.reverse && self.sort.is_some() {
            items.reverse();
            shown.reverse();
        }
        let (start, end) = self.range(filtered)?;
        let mut part: Vec<Value> = match shown.is_empty() {
            true => items[start..end]
                .iter()
                .map(|(_, item)| show(item))
                .collect(),
            false => shown.drain(start..end).collect(),
        };
        if !self.columns.is_empty() {
            for item in &mut part {
                *item = self.chosen(item);
            }
        }
        let Some((page, size)) = self.page else {
            return Ok(Value::Array(part));
        };
        Ok(json!({
            "filtered_count": filtered,
            "item_count": part.len(),
            "items": part,
            "page": page,
            "page_count": filtered.div_ceil(size).max(1),
            "page_size": size,
            "total_count": total,
        }))
    }

    fn range(&self, len: usize) -> Result<(usize, usize), ManagementRefusal> {
        let Some((page, size)) = self.page else {
            return Ok((0, len));
        };
        let start = (page - 1).saturating_mul(size);
        if start >= len && page > 1 {
            let reason = format!("Page out of range, page: {page} page size: {size}, len: {len}");
            return Err(ManagementRefusal::no_page(reason));
        }
        Ok((start, start.saturating_add(size).min(len)))
    }

    fn chosen(&self, item: &Value) -> Value {
        let mut chosen = Map::new();
        for column in &self.columns {
            let Some(value) = at(item, column) else {
                continue;
            };
            let mut fields = &mut chosen;
            let mut path = column.split('.').peekable();
            while let Some(key) = path.next() {
                if path.peek().is_none() {
                    fields.insert(key.to_owned(), value.clone());
                    break;
                }
                let inner = fields.entry(key).or_insert_with(|| json!({}));
                match inner.as_object_mut() {
                    Some(inner) => fields = inner,
                    None => break,
                }
            }
        }
        Value::Object(chosen)
    }
}

fn compiled(pattern: &str) -> Result<Regex, ManagementRefusal> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(ManagementRefusal::bad("\"name\" is longer than 1024 bytes"));
    }
    let made = RegexBuilder::new(pattern)
        .size_limit(PATTERN_MEMORY_MAX)
        .build();
    made.map_err(|_| ManagementRefusal::bad("\"name\" is not a regular expression"))
}

/// The value at a path such as `message_stats.publish`.
fn at<'a>(item: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(item, |value, key| value.get(key))
}

/// Numbers before text, and what is missing first.
fn compared(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => {
            let text = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
            text(one).cmp(&text(other))
        }
    }
}
