//! What limits say beside their numbers, and what a file says for all of its limits.

use super::fields::{Field, Fields};
use super::level::Level;
use super::limit::{Accuracy, OnStoreError};
use super::read::Choices;
use super::report::{Report, Reported};

/// How exact a count may be.
pub(super) const ACCURACIES: &Choices<Accuracy> =
    &[("exact", Accuracy::Exact), ("leased", Accuracy::Leased)];

/// What may be done when the store cannot say.
pub(super) const ON_STORE_ERROR: &Choices<OnStoreError> = &[
    ("error", OnStoreError::Error),
    ("allow", OnStoreError::Allow),
    ("deny", OnStoreError::Deny),
    ("local", OnStoreError::Local),
];

/// What was said; `None` where nothing was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    pub(super) count_refused: Option<bool>,
    pub(super) accuracy: Option<Accuracy>,
    pub(super) on_store_error: Option<OnStoreError>,
}

impl Defaults {
    /// Reads `defaults`. Where it is wrong, nothing is said.
    pub(super) fn read(field: Option<&Field<'_>>, path: &str, report: &mut Report) -> Self {
        let Ok(maps @ [_, ..]) = report.maps(field, path) else {
            return Self::default();
        };
        let fields = Fields::gather(maps);
        fields.report(Level::Defaults, path, report);
        Self::of(&fields, path, report).unwrap_or_default()
    }

    /// What these fields say.
    pub(super) fn of(
        fields: &Fields<'_>,
        path: &str,
        report: &mut Report,
    ) -> Result<Self, Reported> {
        let count_refused = report.flag(fields.get("count_refused"), path);
        let accuracy = report.choice(fields.get("accuracy"), ACCURACIES, path);
        let on_store_error = report.choice(fields.get("on_store_error"), ON_STORE_ERROR, path);
        Ok(Self {
            count_refused: count_refused?,
            accuracy: accuracy?,
            on_store_error: on_store_error?,
        })
    }

    /// What is said here, else there.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            count_refused: self.count_refused.or(other.count_refused),
            accuracy: self.accuracy.or(other.accuracy),
            on_store_error: self.on_store_error.or(other.on_store_error),
        }
    }
}
