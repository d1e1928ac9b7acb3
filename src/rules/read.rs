//! Fields as typed values: text, booleans, whole numbers, names of a choice, lists.
//!
//! An absent field and `null` are the empty value of the type. A wrong one is reported.

use std::borrow::Cow;

use super::fields::{Field, check_number};
use super::report::{Report, Reported, Spot, clip, describe, nearest};
use super::scalar::{Value, resolve};
use super::yaml::{Kind, Node};

/// What `requests_per_unit` may be.
pub(super) const WHOLE: &str = "a whole number from 0 to 4294967295 is allowed, without quotes";

/// What `burst` and `unit_multiplier` may be.
pub(super) const COUNT: &str = "a whole number from 1 to 4294967295 is allowed, without quotes";

/// Names and what they stand for.
pub(super) type Choices<T> = [(&'static str, T)];

/// Whether the field is there, and not as `null`.
pub(super) fn is_given(field: Option<&Field<'_>>) -> bool {
    given(field).is_some_and(|(_, node)| resolved(node) != Some(Value::Null))
}

impl Report {
    /// Text as it is written, whatever the scalar would mean.
    pub(super) fn text<'t>(
        &mut self,
        field: Option<&Field<'t>>,
        path: &str,
    ) -> Result<Cow<'t, str>, Reported> {
        match given(field) {
            Some((name, node)) => self.text_of(name, node, path),
            None => Ok(Cow::Borrowed("")),
        }
    }

    /// The text of a node that problems call `name`.
    pub(super) fn text_of<'t>(
        &mut self,
        name: &str,
        node: &'t Node<'t>,
        path: &str,
    ) -> Result<Cow<'t, str>, Reported> {
        check_number(name, node, path, self)?;
        let Kind::Scalar(scalar) = node.kind() else {
            return Err(self.wrong(name, node, path, "a string is allowed"));
        };
        match resolve(scalar) {
            Ok(Value::Null) => Ok(Cow::Borrowed("")),
            Ok(Value::Binary(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Owned(text)),
                Err(_) => Err(self.wrong(name, node, path, "the bytes must be UTF-8")),
            },
            Ok(_) => Ok(Cow::Borrowed(&scalar.text)),
            Err(_) => Err(self.wrong(name, node, path, "a string is allowed")),
        }
    }

    /// A YAML 1.1 boolean.
    pub(super) fn boolean(
        &mut self,
        field: Option<&Field<'_>>,
        path: &str,
    ) -> Result<bool, Reported> {
        let Some((name, node)) = given(field) else {
            return Ok(false);
        };
        check_number(name, node, path, self)?;
        match resolved(node) {
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            _ => Err(self.wrong(name, node, path, "true or false is allowed, without quotes")),
        }
    }

    /// A YAML 1.1 boolean, `None` where there is none.
    pub(super) fn flag(
        &mut self,
        field: Option<&Field<'_>>,
        path: &str,
    ) -> Result<Option<bool>, Reported> {
        let flag = self.boolean(field, path)?;
        Ok(is_given(field).then_some(flag))
    }

    /// One of several names, `None` where there is none.
    pub(super) fn choice<T: Copy>(
        &mut self,
        field: Option<&Field<'_>>,
        choices: &Choices<T>,
        path: &str,
    ) -> Result<Option<T>, Reported> {
        let text = self.text(field, path)?;
        let Some((name, node)) = given(field).filter(|_| is_given(field)) else {
            return Ok(None);
        };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Ok(Some(*choice));
        }
        let found = if text.is_empty() {
            format!("{name} is empty")
        } else {
            format!("{name} is {:?}", clip(&text))
        };
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let near = nearest(&text, &names);
        let allowed = near.map(|name| format!("did you mean {name:?}? ")).unwrap_or_default();
        let allowed = format!("{allowed}{} is allowed", one_of(&names));
        Err(self.error(Spot { at: node.at, path }, found, allowed))
    }

    /// A whole number from 1 that fits 32 bits, `None` where there is none.
    pub(super) fn count(
        &mut self,
        field: Option<&Field<'_>>,
        path: &str,
    ) -> Result<Option<u32>, Reported> {
        let Some((name, node)) = given(field).filter(|_| is_given(field)) else {
            return Ok(None);
        };
        check_number(name, node, path, self)?;
        match resolved(node) {
            Some(Value::Int(value @ 1..)) if let Ok(value) = u32::try_from(value) => {
                Ok(Some(value))
            }
            _ => Err(self.wrong(name, node, path, COUNT)),
        }
    }

    /// A whole number that fits 32 bits.
    pub(super) fn whole(&mut self, field: Option<&Field<'_>>, path: &str) -> Result<u32, Reported> {
        let Some((name, node)) = given(field) else {
            return Ok(0);
        };
        check_number(name, node, path, self)?;
        let number = match resolved(node) {
            Some(Value::Null) => Some(0),
            Some(Value::Int(value)) => u32::try_from(value).ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(name, node, path, WHOLE))
    }

    /// A list, whose elements are not checked.
    pub(super) fn list<'t>(
        &mut self,
        field: Option<&Field<'t>>,
        path: &str,
    ) -> Result<&'t [Node<'t>], Reported> {
        let Some((name, node)) = given(field) else {
            return Ok(&[]);
        };
        if let Kind::Sequence(items) = node.kind() {
            return Ok(items);
        }
        match resolved(node) {
            Some(Value::Null) => Ok(&[]),
            _ => Err(self.wrong(name, node, path, "a list of maps is allowed")),
        }
    }

    /// The maps of a map field, of which each adds to those before it; none for `null`.
    pub(super) fn maps<'f, 't>(
        &mut self,
        field: Option<&'f Field<'t>>,
        path: &str,
    ) -> Result<&'f [&'t Node<'t>], Reported> {
        let (Some(field), Some((name, node))) = (field, given(field)) else {
            return Ok(&[]);
        };
        match resolved(node) {
            Some(Value::Null) => Ok(&[]),
            _ if field.maps().is_empty() => Err(self.wrong(name, node, path, "a map is allowed")),
            _ => Ok(field.maps()),
        }
    }

    pub(super) fn wrong(
        &mut self,
        name: &str,
        node: &Node<'_>,
        path: &str,
        allowed: &str,
    ) -> Reported {
        let found = format!("{name} is {}", describe(node));
        self.error(Spot { at: node.at, path }, found, allowed)
    }
}

fn one_of(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn given<'t>(field: Option<&Field<'t>>) -> Option<(&'static str, &'t Node<'t>)> {
    field.and_then(|field| Some((field.name, field.value()?)))
}

/// What a scalar means; `None` for anything else and for a wrong tag.
fn resolved<'t>(node: &'t Node<'_>) -> Option<Value<'t>> {
    match node.kind() {
        Kind::Scalar(scalar) => resolve(scalar).ok(),
        _ => None,
    }
}
