//! The body of a registration as a tree, whichever of XML and JSON it is written in. Everything is bounded: depth, elements,
//! attributes. Pure.

use quick_xml::{
    Reader, escape,
    events::{BytesRef, BytesStart, Event},
};
use serde_json::Value;

/// A deeper body is refused.
const DEPTH_MAX: usize = 16;
/// A body of more elements is refused.
const NODES_MAX: usize = 4096;
/// An element with more attributes is refused.
const ATTRIBUTES_MAX: usize = 8;

/// An element, or a member of a JSON object. A member `@name` is an attribute, and `$` is the text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct BodyNode {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    text: String,
    pub(super) children: Vec<Self>,
}

impl BodyNode {
    /// Reads a body: XML if it begins with `<`, JSON otherwise.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence about the body.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "is not UTF-8".to_owned())?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err("is empty: an instance in XML or JSON is expected".to_owned());
        }
        if text.starts_with('<') {
            return xml(text);
        }
        let value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        let Value::Object(members) = value else {
            return Err("must be a JSON object {\"instance\": …}".to_owned());
        };
        let mut members = members.into_iter();
        match (members.next(), members.next()) {
            (Some((name, value)), None) => json(&name, value, 1, &mut NodeBudget(NODES_MAX)),
            _ => Err("must have one member, \"instance\"".to_owned()),
        }
    }

    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name; none if there is none or it is empty.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).and_then(Self::text)
    }

    /// Its own text without white space at the ends; none if that is empty.
    pub(super) fn text(&self) -> Option<&str> {
        Some(self.text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }
}

/// How many nodes may still be made.
struct NodeBudget(usize);

impl NodeBudget {
    fn take(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("is nested more than {DEPTH_MAX} deep"));
        }
        self.0 =
            (self.0.checked_sub(1)).ok_or_else(|| format!("has more than {NODES_MAX} elements"))?;
        Ok(())
    }
}

fn json(
    name: &str,
    value: Value,
    depth: usize,
    budget: &mut NodeBudget,
) -> Result<BodyNode, String> {
    budget.take(depth)?;
    let mut node = BodyNode {
        name: name.to_owned(),
        ..BodyNode::default()
    };
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                match name.strip_prefix('@') {
                    Some(attribute) if node.attributes.len() < ATTRIBUTES_MAX => {
                        let value = scalar(&value).unwrap_or_default();
                        node.attributes.push((attribute.to_owned(), value));
                    }
                    Some(_) => return Err(too_many_attributes()),
                    None if name == "$" => node.text = scalar(&value).unwrap_or_default(),
                    None => node.children.push(json(&name, value, depth + 1, budget)?),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                node.children.push(json("item", item, depth + 1, budget)?);
            }
        }
        other => node.text = scalar(&other).unwrap_or_default(),
    }
    Ok(node)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn too_many_attributes() -> String {
    format!("has an element with more than {ATTRIBUTES_MAX} attributes")
}

fn xml(text: &str) -> Result<BodyNode, String> {
    let mut reader = Reader::from_str(text);
    let mut budget = NodeBudget(NODES_MAX);
    let mut open: Vec<BodyNode> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event().map_err(|error| not_xml(&error))?;
        let closed = match event {
            Event::Start(start) => {
                budget.take(open.len() + 1)?;
                open.push(element(&start)?);
                None
            }
            Event::Empty(start) => {
                budget.take(open.len() + 1)?;
                Some(element(&start)?)
            }
            Event::End(_) => open.pop(),
            Event::Eof => break,
            Event::DocType(_) => {
                return Err("has a document type, which is not accepted".to_owned());
            }
            other => {
                add_text(open.last_mut(), &other)?;
                None
            }
        };
        if let Some(node) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(node),
                None if root.is_none() => root = Some(node),
                None => return Err("has more than one root element".to_owned()),
            }
        }
    }
    match root {
        Some(root) if open.is_empty() => Ok(root),
        _ => Err("is not XML: it ends before its root element does".to_owned()),
    }
}

fn element(start: &BytesStart<'_>) -> Result<BodyNode, String> {
    let mut node = BodyNode {
        name: start.name().0.to_owned(),
        ..BodyNode::default()
    };
    // Repeated names are not looked for: that takes quadratic time.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| not_xml(&error))?;
        if node.attributes.len() == ATTRIBUTES_MAX {
            return Err(too_many_attributes());
        }
        let value = escape::unescape(&attribute.value).map_err(|error| not_xml(&error))?;
        let name = attribute.key.0.to_owned();
        node.attributes.push((name, value.into_owned()));
    }
    Ok(node)
}

/// Adds the text of an event to the innermost element; comments and instructions have none.
fn add_text(open: Option<&mut BodyNode>, event: &Event<'_>) -> Result<(), String> {
    let mut character = [0; 4];
    let text = match event {
        Event::Text(text) => &*text.xml10_content(),
        Event::CData(text) => &*text.xml10_content(),
        Event::GeneralRef(reference) => resolved(reference, &mut character)?,
        _ => return Ok(()),
    };
    match open {
        Some(node) => node.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("is not XML: it has text outside of its root element".to_owned()),
    }
    Ok(())
}

fn resolved<'a>(reference: &BytesRef<'_>, character: &'a mut [u8; 4]) -> Result<&'a str, String> {
    match reference.resolve_char_ref() {
        Ok(Some(found)) => Ok(found.encode_utf8(character)),
        Ok(None) => escape::resolve_predefined_entity(reference)
            .ok_or_else(|| "has an entity that XML does not define".to_owned()),
        Err(error) => Err(not_xml(&error)),
    }
}

fn not_xml(error: &dyn std::error::Error) -> String {
    let text: String = error.to_string().chars().take(200).collect();
    format!("is not XML: {text}")
}
