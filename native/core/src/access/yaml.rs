//! YAML and JSON as client-go reads them: go-yaml 2 (YAML 1.1, the first document of a text), then a
//! conversion to JSON, then Go's JSON decoder, which takes null for a missing field and rejects other types.
//!
//! No error has text of the input: there may be a token in it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

mod fields;
mod scalar;
mod text;

pub(crate) use fields::Fields;

/// Deeper values are no kubeconfig, and would need too much stack.
const MAX_DEPTH: usize = 500;

/// A place in the text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    line: usize,
    column: usize,
}

/// Why a text is not what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid {
    at: Option<Position>,
    problem: &'static str,
}

impl Invalid {
    pub fn new(at: Position, problem: &'static str) -> Self {
        Self { at: Some(at), problem }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(Position { line, column }) => {
                write!(formatter, "line {line}, column {column}: {}", self.problem)
            }
            None => formatter.write_str(self.problem),
        }
    }
}

/// A value, and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    /// Shared by all aliases.
    Text(Arc<str>),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

/// Parses the first document; null where there is none.
///
/// # Errors
/// [`Invalid`] where go-yaml or its conversion to JSON fail.
pub(crate) fn parse(input: &[u8]) -> Result<Node, Invalid> {
    let text = text::decode(input)?;
    let source = Source::read(&text)?;
    Converter::new(&source).root()
}

/// A node before tags, aliases and merge keys are resolved.
enum Raw {
    Scalar {
        text: Arc<str>,
        plain: bool,
        tag: Option<String>,
    },
    List(Vec<usize>),
    /// Keys and values, in turns.
    Map(Vec<usize>),
    /// The index of the node with the anchor.
    Alias(usize),
}

struct RawNode {
    at: Position,
    raw: Raw,
}

/// The nodes of a document; the first one is its root.
#[derive(Default)]
struct Source(Vec<RawNode>);

impl Source {
    fn read(text: &str) -> Result<Self, Invalid> {
        let options = granit_parser::options! {
            emit_comments: false,
            block_scalar_eof_without_line_feed: true,
            bom_inside_document_as_content: true,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        let mut source = Self::default();
        let mut anchors = HashMap::new();
        let mut open = Vec::new();
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| Invalid {
                at: Some(position_of(error.marker())),
                problem: "this is not YAML",
            })?;
            if !source.add(event, &span, &mut open, &mut anchors)? {
                break;
            }
        }
        Ok(source)
    }

    /// Adds a node; false at the end of the document.
    fn add(
        &mut self,
        event: Event<'_>,
        span: &Span,
        open: &mut Vec<usize>,
        anchors: &mut HashMap<usize, usize>,
    ) -> Result<bool, Invalid> {
        let at = position_of(&span.start);
        let (raw, anchor) = match event {
            Event::DocumentEnd => return Ok(false),
            Event::DocumentStart(_, Some(version)) if (version.major, version.minor) != (1, 1) => {
                return Err(Invalid::new(at, "kubectl reads YAML 1.1 only"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref().map(full_tag);
                (Raw::Scalar { text: text.as_ref().into(), plain, tag }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (Raw::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => (Raw::Map(Vec::new()), anchor),
            Event::Alias(anchor) => {
                let target = anchors.get(&anchor).copied();
                (Raw::Alias(target.ok_or(Invalid::new(at, "this anchor is not known"))?), 0)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                return Ok(true);
            }
            _ => return Ok(true),
        };
        let index = self.0.len();
        if let Some(&parent) = open.last()
            && let Raw::List(children) | Raw::Map(children) = &mut self.0[parent].raw
        {
            children.push(index);
        }
        if matches!(raw, Raw::List(_) | Raw::Map(_)) {
            open.push(index);
        }
        if anchor > 0 {
            anchors.insert(anchor, index);
        }
        self.0.push(RawNode { at, raw });
        Ok(true)
    }
}

fn position_of(marker: &granit_parser::Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

fn full_tag(tag: &Tag) -> String {
    let (handle, suffix) = tag.parts();
    format!("{handle}{suffix}")
}

/// Resolves tags, aliases and merge keys.
struct Converter<'a> {
    nodes: &'a [RawNode],
    /// The nodes whose aliases are being resolved.
    active: Vec<usize>,
    depth: usize,
    decoded: u32,
    from_aliases: u32,
}

impl<'a> Converter<'a> {
    fn new(source: &'a Source) -> Self {
        Self { nodes: &source.0, active: Vec::new(), depth: 0, decoded: 0, from_aliases: 0 }
    }

    fn root(&mut self) -> Result<Node, Invalid> {
        if self.nodes.is_empty() {
            return Ok(Node { at: Position { line: 1, column: 1 }, value: Value::Null });
        }
        self.node(0)
    }

    fn node(&mut self, index: usize) -> Result<Node, Invalid> {
        let nodes = self.nodes;
        let RawNode { at, raw } = &nodes[index];
        let at = *at;
        self.enter(at)?;
        let value = match raw {
            Raw::Scalar { text, plain, tag } => scalar::resolve(tag.as_deref(), *plain, text)
                .map_err(|problem| Invalid::new(at, problem))?,
            Raw::List(items) => {
                Value::List(items.iter().map(|&item| self.node(item)).collect::<Result<_, _>>()?)
            }
            Raw::Map(pairs) => {
                let mut map = BTreeMap::new();
                self.fill(pairs, &mut map)?;
                Value::Map(map)
            }
            Raw::Alias(target) => {
                self.alias(at, *target, |converter| converter.node(*target))?.value
            }
        };
        self.depth -= 1;
        Ok(Node { at, value })
    }

    /// Counts as go-yaml does, which ends documents that consist of aliases.
    fn enter(&mut self, at: Position) -> Result<(), Invalid> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Invalid::new(at, "this is nested too deeply"));
        }
        self.decoded += 1;
        self.from_aliases += u32::from(!self.active.is_empty());
        let ratio = f64::from(self.from_aliases) / f64::from(self.decoded);
        if self.from_aliases > 100 && self.decoded > 1000 && ratio > allowed_ratio(self.decoded) {
            return Err(Invalid::new(at, "too much of this document comes from aliases"));
        }
        Ok(())
    }

    fn alias<T>(
        &mut self,
        at: Position,
        target: usize,
        resolve: impl FnOnce(&mut Self) -> Result<T, Invalid>,
    ) -> Result<T, Invalid> {
        if self.active.contains(&target) {
            return Err(Invalid::new(at, "this anchor contains itself"));
        }
        self.active.push(target);
        let resolved = resolve(self)?;
        self.active.pop();
        Ok(resolved)
    }

    /// Later keys win, and a merge key wins over the keys before it.
    fn fill(&mut self, pairs: &[usize], map: &mut BTreeMap<String, Node>) -> Result<(), Invalid> {
        for pair in pairs.chunks_exact(2) {
            if self.is_merge(pair[0]) {
                self.merge(pair[1], map)?;
            } else {
                let key = key(&self.node(pair[0])?)?;
                let value = self.node(pair[1])?;
                map.insert(key, value);
            }
        }
        Ok(())
    }

    fn is_merge(&self, index: usize) -> bool {
        match &self.nodes[index].raw {
            Raw::Scalar { text, plain, tag } if text.as_ref() == "<<" => match tag.as_deref() {
                None => *plain,
                Some(tag) => tag == "!" || tag == scalar::MERGE,
            },
            _ => false,
        }
    }

    fn merge(&mut self, index: usize, map: &mut BTreeMap<String, Node>) -> Result<(), Invalid> {
        let nodes = self.nodes;
        match &nodes[index].raw {
            Raw::List(items) => {
                // Earlier ones win.
                items.iter().rev().try_for_each(|&item| self.merge_map(item, map))
            }
            _ => self.merge_map(index, map),
        }
    }

    fn merge_map(&mut self, index: usize, map: &mut BTreeMap<String, Node>) -> Result<(), Invalid> {
        let nodes = self.nodes;
        let RawNode { at, raw } = &nodes[index];
        self.enter(*at)?;
        match raw {
            Raw::Map(pairs) => self.fill(pairs, map)?,
            Raw::Alias(target) => {
                let Raw::Map(pairs) = &nodes[*target].raw else { return Err(no_map(*at)) };
                self.alias(*at, *target, |converter| converter.fill(pairs, map))?;
            }
            _ => return Err(no_map(*at)),
        }
        self.depth -= 1;
        Ok(())
    }
}

fn no_map(at: Position) -> Invalid {
    Invalid::new(at, "only a mapping can be merged")
}

/// As go-yaml: 99% of a small document may come from aliases, and 10% of a large one.
fn allowed_ratio(decoded: u32) -> f64 {
    match decoded {
        0..=400_000 => 0.99,
        400_001..4_000_000 => 0.99 - 0.89 * f64::from(decoded - 400_000) / 3_600_000.0,
        _ => 0.10,
    }
}

/// A key as JSON has it.
fn key(node: &Node) -> Result<String, Invalid> {
    match &node.value {
        Value::Text(text) => Ok(text.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) if !number.is_u64() || number.is_i64() => Ok(number.to_string()),
        _ => Err(Invalid::new(node.at, "this cannot be a key")),
    }
}

#[cfg(test)]
mod tests;
