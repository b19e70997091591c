//! The parser of filter expressions: by recursive descent, with a bound on the depth.

use regex::RegexBuilder;

use super::{BYTES_MAX, DEPTH_MAX, FilterFault, FilterNode, REGEX_BYTES_MAX, Selector, Test};

/// The most characters of the rest that an error shows.
const SHOWN_MAX: usize = 40;

pub(super) fn parse(text: &str) -> Result<FilterNode, FilterFault> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > BYTES_MAX {
        return Err(parser.fault(format!("the expression is longer than {BYTES_MAX} bytes")));
    }
    let node = parser.either(0)?;
    parser.skip_space();
    match parser.rest().is_empty() {
        true => Ok(node),
        false => Err(parser.fault("expected \"and\", \"or\" or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

/// A value or a selector: either may begin a comparison.
enum Operand {
    Quoted(Box<str>),
    Bare(Box<str>),
    Selected(Selector),
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn fault(&self, what: impl Into<String>) -> FilterFault {
        FilterFault {
            at: self.text[..self.at].chars().count() + 1,
            what: what.into(),
            rest: self.rest().chars().take(SHOWN_MAX).collect(),
        }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes a sign such as `==`.
    fn sign(&mut self, sign: &str) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(sign);
        self.at += if is_next { sign.len() } else { 0 };
        is_next
    }

    /// Takes a word such as `and`, if it is one as a whole.
    fn word(&mut self, word: &str) -> bool {
        self.skip_space();
        let after = self.rest().strip_prefix(word);
        let ends = |rest: &str| !rest.starts_with(|c: char| is_of_name(c) || c == '.');
        let is_next = after.is_some_and(ends);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn either(&mut self, depth: usize) -> Result<FilterNode, FilterFault> {
        let mut node = self.both(depth)?;
        while self.word("or") {
            node = FilterNode::Or(Box::new(node), Box::new(self.both(depth)?));
        }
        Ok(node)
    }

    fn both(&mut self, depth: usize) -> Result<FilterNode, FilterFault> {
        let mut node = self.unary(depth)?;
        while self.word("and") {
            node = FilterNode::And(Box::new(node), Box::new(self.unary(depth)?));
        }
        Ok(node)
    }

    fn unary(&mut self, depth: usize) -> Result<FilterNode, FilterFault> {
        if depth >= DEPTH_MAX {
            return Err(self.fault(format!("the expression is nested deeper than {DEPTH_MAX}")));
        }
        if self.word("not") {
            return Ok(FilterNode::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.sign("(") {
            let inner = self.either(depth + 1)?;
            return match self.sign(")") {
                true => Ok(inner),
                false => Err(self.fault("expected \")\"")),
            };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<FilterNode, FilterFault> {
        let first = self.operand()?;
        if self.sign("==") {
            return self.test(first, Test::Equal);
        }
        if self.sign("!=") {
            return Ok(negated(self.test(first, Test::Equal)?));
        }
        if self.word("is") {
            let not = self.word("not");
            if !self.word("empty") {
                return Err(self.fault("expected \"empty\""));
            }
            let node = FilterNode::Is(self.selector(first)?, Test::Empty);
            return Ok(if not { negated(node) } else { node });
        }
        let not = self.word("not");
        let node = if self.word("in") {
            let wanted = self.value(first)?;
            let place = self.operand()?;
            FilterNode::Is(self.selector(place)?, Test::Contains(wanted))
        } else if self.word("contains") {
            self.test(first, Test::Contains)?
        } else if self.word("matches") {
            let selector = self.selector(first)?;
            self.skip_space();
            let from = self.at;
            let second = self.operand()?;
            let pattern = self.value(second)?;
            let compiled = RegexBuilder::new(&pattern)
                .size_limit(REGEX_BYTES_MAX)
                .dfa_size_limit(REGEX_BYTES_MAX)
                .build();
            let Ok(compiled) = compiled else {
                self.at = from;
                return Err(self.fault("expected a regular expression of moderate size"));
            };
            FilterNode::Is(selector, Test::Matches(compiled))
        } else {
            return Err(self.fault(
                "expected ==, !=, in, not in, contains, not contains, matches, not matches, is empty or is not empty",
            ));
        };
        Ok(if not { negated(node) } else { node })
    }

    /// A selector that is followed by a value.
    fn test(
        &mut self,
        first: Operand,
        test: impl FnOnce(Box<str>) -> Test,
    ) -> Result<FilterNode, FilterFault> {
        let selector = self.selector(first)?;
        let second = self.operand()?;
        Ok(FilterNode::Is(selector, test(self.value(second)?)))
    }

    fn selector(&self, operand: Operand) -> Result<Selector, FilterFault> {
        match operand {
            Operand::Selected(selector) => Ok(selector),
            Operand::Bare(name) => Ok(name.split('.').map(Into::into).collect()),
            // A JSON pointer (RFC 6901).
            Operand::Quoted(text) => match text.strip_prefix('/') {
                Some(path) => Ok(path.split('/').map(unescaped).collect()),
                None => Err(self.fault(format!(
                    "\"{}\" is a value, expected a name of a field",
                    super::super::query::shown(&text)
                ))),
            },
        }
    }

    fn value(&self, operand: Operand) -> Result<Box<str>, FilterFault> {
        match operand {
            Operand::Quoted(text) | Operand::Bare(text) => Ok(text),
            Operand::Selected(_) => Err(self.fault("expected a value in quotes")),
        }
    }

    fn operand(&mut self) -> Result<Operand, FilterFault> {
        self.skip_space();
        let rest = self.rest();
        if rest.starts_with(['"', '`']) {
            return self.quoted().map(Operand::Quoted);
        }
        let end = rest
            .find(|c: char| !is_of_name(c) && c != '.')
            .unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || name.split('.').any(str::is_empty) && name.parse::<f64>().is_err() {
            return Err(self.fault("expected a name of a field or a value"));
        }
        self.at += end;
        if !self.rest().starts_with('[') {
            return Ok(Operand::Bare(name.into()));
        }
        let mut names: Vec<Box<str>> = name.split('.').map(Into::into).collect();
        while self.rest().starts_with(['[', '.']) {
            if self.rest().starts_with('.') {
                self.at += 1;
                let end = self.rest().find(|c: char| !is_of_name(c));
                let end = end.unwrap_or_else(|| self.rest().len());
                if end == 0 {
                    return Err(self.fault("expected a name of a field"));
                }
                names.push(self.rest()[..end].into());
                self.at += end;
                continue;
            }
            self.at += 1;
            if !self.rest().starts_with(['"', '`']) {
                return Err(self.fault("expected a name in quotes"));
            }
            names.push(self.quoted()?);
            if !self.sign("]") {
                return Err(self.fault("expected \"]\""));
            }
        }
        Ok(Operand::Selected(names.into()))
    }

    /// A text in quotation marks, with escapes, or between backticks, without.
    fn quoted(&mut self) -> Result<Box<str>, FilterFault> {
        let rest = self.rest();
        let mark = rest.chars().next().unwrap_or('"');
        let (mut text, mut escaped) = (String::new(), false);
        for (at, c) in rest.char_indices().skip(1) {
            if escaped {
                text.push(match c {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                escaped = false;
            } else if c == mark {
                self.at += at + c.len_utf8();
                return Ok(text.into());
            } else if c == '\\' && mark == '"' {
                escaped = true;
            } else {
                text.push(c);
            }
        }
        Err(self.fault("expected the end of a text in quotes"))
    }
}

fn negated(node: FilterNode) -> FilterNode {
    FilterNode::Not(Box::new(node))
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | '+' | '*')
}

/// A part of a JSON pointer.
fn unescaped(part: &str) -> Box<str> {
    part.replace("~1", "/").replace("~0", "~").into()
}
