//! Reads variables one by one, keeps what is declared, and collects what is wrong.

use std::fmt;
use std::ops::RangeInclusive;

use super::value::Value;
use crate::store::secret::Secret;

/// A variable that the process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name in the environment.
    pub name: &'static str,
    /// The value when it is unset, as one would write it; may be empty.
    pub default: String,
    /// What a valid value looks like.
    pub allowed: String,
    /// What it does, in a sentence.
    pub help: &'static str,
    /// The heading that it belongs under.
    pub group: &'static str,
}

/// A variable with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: found {found}; allowed: {allowed}")]
pub struct SettingError {
    /// The variable.
    pub name: String,
    /// What it says; never a secret.
    pub found: String,
    /// What it may say instead.
    pub allowed: String,
}

/// All settings that cannot be used, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingErrors(pub Vec<SettingError>);

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingErrors {}

/// An environment being read.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    group: &'static str,
    pub(super) declared: Vec<Declared>,
    pub(super) errors: Vec<SettingError>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, group: "", declared: vec![], errors: vec![], warnings: vec![] }
    }

    /// Whether any of these variables has a value.
    pub(super) fn is_any_set(&self, names: &[&str]) -> bool {
        names.iter().any(|name| (self.lookup)(name).is_some())
    }

    /// Starts a heading of the reference table.
    pub(super) fn group(&mut self, group: &'static str) {
        self.group = group;
    }

    /// Declares a variable and reads it; the default stands in for what is unset or wrong.
    pub(super) fn read<T: Value>(
        &mut self,
        name: &'static str,
        default: T,
        help: &'static str,
    ) -> T {
        self.declare(name, default.show(), T::ALLOWED.to_owned(), help);
        self.parse(name, T::parse, T::ALLOWED).unwrap_or(default)
    }

    /// Like [`Reader::read`], for values inside a range.
    pub(super) fn within<T: Value + PartialOrd>(
        &mut self,
        name: &'static str,
        default: T,
        range: RangeInclusive<T>,
        help: &'static str,
    ) -> T {
        let (low, high) = (range.start().show(), range.end().show());
        let allowed = format!("{}, {low} to {high}", T::ALLOWED);
        self.declare(name, default.show(), allowed.clone(), help);
        let parse = |text: &str| T::parse(text).filter(|value| range.contains(value));
        self.parse(name, parse, &allowed).unwrap_or(default)
    }

    /// Declares and reads a variable whose unset state is a value of its own.
    pub(super) fn optional<T: Value>(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> Option<T> {
        self.declare(name, String::new(), T::ALLOWED.to_owned(), help);
        self.parse(name, T::parse, T::ALLOWED)
    }

    /// Declares and reads a variable that must never be shown.
    pub(super) fn secret(&mut self, name: &'static str, help: &'static str) -> Option<Secret> {
        self.declare(name, String::new(), String::ALLOWED.to_owned(), help);
        self.raw(name).map(Secret::new)
    }

    /// Declares a variable that is only checked, and hands out what it says.
    pub(super) fn noted(&mut self, declared: Declared) -> Option<String> {
        let text = self.raw(declared.name).filter(|text| !text.is_empty());
        self.declared.push(declared);
        text
    }

    /// Declares variables whose names are made of a value: `name` shows how.
    pub(super) fn named_by_value(&mut self, name: &'static str, allowed: &str, help: &'static str) {
        self.declare(name, String::new(), allowed.to_owned(), help);
    }

    /// Notes a value that cannot be used; `found` must not hold a secret.
    pub(super) fn refuse(&mut self, name: &str, found: &str, allowed: &str) {
        self.errors.push(SettingError {
            name: name.to_owned(),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        });
    }

    /// Notes something odd.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// What the environment says, read or not.
    pub(super) fn raw(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    fn declare(
        &mut self,
        name: &'static str,
        default: String,
        allowed: String,
        help: &'static str,
    ) {
        self.declared.push(Declared { name, default, allowed, help, group: self.group });
    }

    fn parse<T: Value>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        allowed: &str,
    ) -> Option<T> {
        let text = self.raw(name)?;
        if text.is_empty() && !T::MAY_BE_EMPTY {
            // The reference refuses to start here, but charts do set empty values.
            self.warn(format!("{name} is set but empty: its default is used"));
            return None;
        }
        let value = parse(&text);
        if value.is_none() {
            self.refuse(name, &quoted(&text), allowed);
        }
        value
    }
}

/// A value for an error message: quoted, escaped, not endless.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(LONGEST).collect();
    format!("{head:?} and more")
}
