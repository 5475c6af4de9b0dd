//! Values of a type that is known, as Go's JSON decoder has them: null is the type's zero value.

use std::collections::BTreeMap;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};

use super::{Invalid, Node, Position, Value};

/// Go does not look at the bits after the last byte.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

static NULL: Node = Node { at: Position { line: 1, column: 1 }, value: Value::Null };
static EMPTY: BTreeMap<String, Node> = BTreeMap::new();

/// The fields of an object. A missing field is null.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(&'a BTreeMap<String, Node>);

impl<'a> Fields<'a> {
    pub fn get(self, name: &str) -> &'a Node {
        self.0.get(name).unwrap_or(&NULL)
    }

    pub fn text(self, name: &str) -> Result<String, Invalid> {
        self.get(name).text()
    }

    pub fn flag(self, name: &str) -> Result<bool, Invalid> {
        self.get(name).flag()
    }

    /// Each item of a list.
    pub fn list<T>(
        self,
        name: &str,
        item: impl FnMut(&Node) -> Result<T, Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        self.get(name).list()?.iter().map(item).collect()
    }

    /// Each value of a map.
    pub fn map<T>(
        self,
        name: &str,
        mut item: impl FnMut(&Node) -> Result<T, Invalid>,
    ) -> Result<BTreeMap<String, T>, Invalid> {
        let map = self.get(name).fields()?.0;
        map.iter().map(|(name, node)| Ok((name.clone(), item(node)?))).collect()
    }

    /// Names and values, by name.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a Node)> {
        self.0.iter().map(|(name, node)| (name.as_str(), node))
    }
}

impl Node {
    fn invalid(&self, problem: &'static str) -> Invalid {
        Invalid::new(self.at, problem)
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub fn text(&self) -> Result<String, Invalid> {
        match &self.value {
            Value::Null => Ok(String::new()),
            Value::Text(text) => Ok(text.to_string()),
            _ => Err(self.invalid("expected a string. Numbers and true, yes or no need quotes")),
        }
    }

    pub fn flag(&self) -> Result<bool, Invalid> {
        match self.value {
            Value::Null => Ok(false),
            Value::Bool(value) => Ok(value),
            _ => Err(self.invalid("expected true or false, without quotes")),
        }
    }

    pub fn list(&self) -> Result<&[Self], Invalid> {
        match &self.value {
            Value::Null => Ok(&[]),
            Value::List(items) => Ok(items),
            _ => Err(self.invalid("expected a list")),
        }
    }

    pub fn fields(&self) -> Result<Fields<'_>, Invalid> {
        match &self.value {
            Value::Null => Ok(Fields(&EMPTY)),
            Value::Map(map) => Ok(Fields(map)),
            _ => Err(self.invalid("expected a mapping")),
        }
    }

    /// Base64, with line breaks anywhere.
    pub fn bytes(&self) -> Result<Vec<u8>, Invalid> {
        let text = self.text()?.replace(['\r', '\n'], "");
        BASE64.decode(text).map_err(|_| self.invalid("this is not base64"))
    }

    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_ref().into(),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(map) => map.iter().map(|(name, node)| (name.clone(), node.json())).collect(),
        }
    }

    /// `apiVersion` and `kind`, which Go finds in any case of letters.
    pub fn version_and_kind(&self) -> Result<(String, String), Invalid> {
        let (mut version, mut kind) = (String::new(), String::new());
        for (name, node) in self.fields()?.iter().filter(|(_, node)| !node.is_null()) {
            match name.to_ascii_lowercase().as_str() {
                "apiversion" => version = node.text()?,
                "kind" => kind = node.text()?,
                _ => {}
            }
        }
        Ok((version, kind))
    }
}
