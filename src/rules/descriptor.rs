//! Descriptors: reads each with all below it, checks what it says and grows the tree.

use std::borrow::Cow;

use super::builder::{Clash, NewNode, Target};
use super::criteria::{self, Criteria};
use super::fields::{Field, Fields, check_item};
use super::level::Level;
use super::load::{Loader, Replacement};
use super::matcher::Matcher;
use super::metadata;
use super::policy::{self, Policy};
use super::read::is_given;
use super::report::{Reported, Spot, clip};
use super::ruleset::{NodeId, Rule};
use super::terms::Context;
use super::yaml::Node;

/// How long the paths of all descriptors together may be, in bytes, composite keys of
/// listed values included: each repeats what stands above it, so a short file may ask
/// for much memory.
const MAX_PATHS: usize = 256 << 20;

/// How many descriptors all files together may have, those that aliases stand for included:
/// a short file may ask for many.
pub(super) const MAX_DESCRIPTORS: usize = 1_000_000;

/// A node that grows, and its path.
#[derive(Clone, Copy)]
pub(super) struct Parent<'p> {
    pub(super) node: NodeId,
    pub(super) path: &'p str,
}

impl Parent<'_> {
    /// The path of a child.
    fn join(self, composite: &str) -> String {
        match self.path {
            "" => composite.to_owned(),
            above => format!("{above}.{composite}"),
        }
    }
}

/// Key and value of a descriptor, as far as they are right.
struct Question<'t> {
    key: Result<Cow<'t, str>, Reported>,
    value: Result<Cow<'t, str>, Reported>,
    criteria: Result<Option<Criteria>, Reported>,
}

impl Question<'_> {
    /// The key and what its value must be; `None` if something is wrong.
    fn target(&self) -> Option<(&str, Target<'_>)> {
        let key = self.key.as_deref().ok()?;
        let value = self.value.as_deref().ok()?;
        Some(match self.criteria.as_ref().ok()? {
            Some(criteria) => (key, Target::Match(&criteria.matcher)),
            None => (key, Target::Value(value)),
        })
    }

    /// How long the composite keys of listed values are together.
    fn listed(&self) -> usize {
        match self.target() {
            Some((key, Target::Match(Matcher::AnyOf(values)))) => {
                values.iter().map(|value| key.len() + 1 + value.len()).sum()
            }
            _ => 0,
        }
    }

    /// What stands for the descriptor in a path.
    fn composite(&self) -> String {
        match (self.target(), &self.key, &self.value) {
            (Some((key, target)), ..) => target.composite(key),
            (None, Ok(key), Ok(value)) => Target::Value(value).composite(key),
            (None, ..) => "?".to_owned(),
        }
    }
}

impl Loader {
    /// Reads a list of descriptors.
    pub(super) fn descriptors(&mut self, field: Option<&Field<'_>>, parent: Parent<'_>) {
        for item in self.report.list(field, parent.path).unwrap_or_default() {
            if check_item(item, parent.path, &mut self.report).is_ok() {
                self.descriptor(item, parent);
            }
        }
    }

    fn descriptor(&mut self, item: &Node<'_>, parent: Parent<'_>) {
        if self.is_full(Spot { at: item.at, path: parent.path }) {
            return;
        }
        let fields = Fields::gather(&[item]);
        let question = self.question(&fields, Spot { at: item.at, path: parent.path }, parent);
        let composite = question.composite();
        let path = parent.join(&composite);
        self.paths += path.len() + question.listed();
        if self.paths > MAX_PATHS {
            let found = "keys and values are too long".to_owned();
            let allowed = format!("all paths together may have {MAX_PATHS} bytes");
            self.report.error(Spot { at: item.at, path: parent.path }, found, allowed);
            return;
        }
        fields.report(Level::Descriptor, &path, &mut self.report);
        let context = Context { path: &path, defaults: self.defaults };
        let policy = policy::read(&fields, context, &mut self.report);
        let share_threshold = self.share_threshold(&fields, question.target(), &path);
        let value_to_metric = self.report.boolean(fields.get("value_to_metric"), &path);
        let rule = self.rule(&fields, policy, &path);
        let node = match question.target() {
            Some((key, target)) => {
                let new = NewNode {
                    key,
                    target,
                    value_to_metric: value_to_metric.unwrap_or_default(),
                    share_threshold: share_threshold.unwrap_or_default(),
                    rule,
                };
                let criteria = question.criteria.as_ref().ok().and_then(Option::as_ref);
                self.add(parent.node, new, criteria, Spot { at: item.at, path: &path })
            }
            None => self.detached(item.at),
        };
        self.descriptors(fields.get("descriptors"), Parent { node, path: &path });
    }

    /// Counts one more descriptor; the first that is too many is reported.
    fn is_full(&mut self, spot: Spot<'_>) -> bool {
        self.descriptors += 1;
        if self.descriptors == MAX_DESCRIPTORS + 1 {
            let allowed = format!("all files together may have {MAX_DESCRIPTORS}");
            self.report.error(spot, "too many descriptors".to_owned(), allowed);
        }
        self.descriptors > MAX_DESCRIPTORS
    }

    fn question<'t>(
        &mut self,
        fields: &Fields<'t>,
        spot: Spot<'_>,
        parent: Parent<'_>,
    ) -> Question<'t> {
        let key = self.key(fields, spot);
        let value = self.report.text(fields.get("value"), spot.path);
        let path = parent.join(key.as_deref().unwrap_or("?"));
        let field = fields.get("match");
        let criteria = criteria::read(field, &path, &mut self.regexes, &mut self.report);
        let question = Question { key, value, criteria };
        match self.match_alone(fields, &question, &path) {
            Ok(()) => question,
            Err(reported) => Question { criteria: Err(reported), ..question },
        }
    }

    /// A match stands instead of a value, and beside a plain key.
    fn match_alone(
        &mut self,
        fields: &Fields<'_>,
        question: &Question<'_>,
        path: &str,
    ) -> Result<(), Reported> {
        let Some(field) = fields.get("match").filter(|field| is_given(Some(field))) else {
            // Without the match that was meant it would be another descriptor.
            let lost = fields.misspells("match")
                || Level::Match.keys().iter().any(|name| fields.get(name).is_some());
            return if lost { Err(Reported) } else { Ok(()) };
        };
        let spot = Spot { at: field.at, path };
        match (question.key.as_deref(), question.value.as_deref()) {
            (_, Ok(value)) if !value.is_empty() => {
                let found = format!("match stands beside value {:?}", clip(value));
                Err(self.report.error(spot, found, "match is allowed instead of value"))
            }
            (Ok(key), _) if key.contains('*') => {
                let found = format!("match stands beside key {:?}", clip(key));
                Err(self.report.error(spot, found, "it needs a key without `*`"))
            }
            _ => Ok(()),
        }
    }

    fn key<'t>(&mut self, fields: &Fields<'t>, spot: Spot<'_>) -> Result<Cow<'t, str>, Reported> {
        let field = fields.get("key");
        let key = self.report.text(field, spot.path)?;
        if !key.is_empty() {
            return Ok(key);
        }
        if field.is_none() && fields.misspells("key") {
            return Err(Reported);
        }
        let at = Field::value_at(field, spot.at);
        let found = if field.is_some() { "key is empty" } else { "key is missing" };
        let allowed = "a descriptor needs a non-empty key";
        Err(self.report.error(Spot { at, ..spot }, found.to_owned(), allowed))
    }

    fn share_threshold(
        &mut self,
        fields: &Fields<'_>,
        target: Option<(&str, Target<'_>)>,
        path: &str,
    ) -> Result<bool, Reported> {
        let field = fields.get("share_threshold");
        let share = self.report.boolean(field, path)?;
        let (Some(field), Some((key, target @ Target::Value(_)))) = (field, target) else {
            return Ok(share);
        };
        let composite = target.composite(key);
        if share && !composite.contains('*') {
            let found = format!("share_threshold stands at {:?}", clip(&composite));
            let allowed = "it needs a `*` in the value or key";
            return Err(self.report.error(Spot { at: field.at, path }, found, allowed));
        }
        Ok(share)
    }

    /// The rule of a descriptor with limits.
    fn rule(
        &mut self,
        fields: &Fields<'_>,
        policy: Result<Option<Policy>, Reported>,
        path: &str,
    ) -> Option<Rule> {
        let shadow_mode = self.report.boolean(fields.get("shadow_mode"), path);
        let quota_mode = self.report.boolean(fields.get("quota_mode"), path);
        let detailed_metric = self.report.boolean(fields.get("detailed_metric"), path);
        let metadata = metadata::read(fields.get("metadata"), path, &mut self.report);
        let policy = policy.ok()??;
        self.named.extend(policy.names.into_iter().map(|name| (self.domain, name)));
        for replaced in &policy.replaces {
            let spot = Spot { at: replaced.at, path };
            let name = replaced.name.clone();
            let found = format!("no limit of the domain is named {:?}", clip(&name));
            let allowed = "replacing it has no effect".to_owned();
            if let Some(warning) = self.report.problem(spot, found, allowed) {
                self.replaced.push(Replacement { domain: self.domain, name, warning });
            }
        }
        Some(Rule {
            path: path.into(),
            domain_bytes: self.domain_bytes,
            limits: policy.limits.into(),
            requests_per_unit: policy.requests_per_unit,
            replaces: policy.replaces.into_iter().map(|replaced| replaced.name).collect(),
            shadow_mode: shadow_mode.ok()?,
            quota_mode: quota_mode.ok()?,
            detailed_metric: detailed_metric.ok()?,
            metadata: metadata.ok()?,
        })
    }

    fn add(
        &mut self,
        parent: NodeId,
        new: NewNode<'_>,
        criteria: Option<&Criteria>,
        spot: Spot<'_>,
    ) -> NodeId {
        let clashes = match self.builder.child(parent, new) {
            Ok(node) => {
                self.located(spot.at);
                return node;
            }
            Err(clashes) => clashes,
        };
        for clash in clashes {
            self.clash(clash, criteria, spot);
        }
        self.detached(spot.at)
    }

    /// Reports a sibling that is in the way.
    fn clash(&mut self, clash: Clash, criteria: Option<&Criteria>, spot: Spot<'_>) {
        let (at, found, allowed) = match clash {
            Clash::Path(taken) => (
                spot.at,
                format!("a second descriptor of this path, after {}", self.origin(taken)),
                "key and value joined by `_` must differ from their siblings",
            ),
            Clash::Listed(taken) => (
                spot.at,
                format!("any_of of {} holds this value as well", self.origin(taken)),
                "a value may lead to one descriptor only",
            ),
            Clash::Element(index, taken) => {
                let at = criteria.and_then(|c| c.places.get(index)).unwrap_or(&spot.at);
                let element = criteria.map(|c| c.matcher.element(index)).unwrap_or_default();
                (
                    *at,
                    format!("{} leads to {} as well", clip(&element), self.origin(taken)),
                    "a value or network may lead to one descriptor only",
                )
            }
        };
        self.report.error(Spot { at, ..spot }, found, allowed);
    }
}
