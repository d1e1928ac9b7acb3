//! A request as the core sees it: borrowed text, flattened so that a usual one needs
//! no allocation.

use std::ops::Range;
use std::time::Duration;

use smallvec::SmallVec;

use crate::rules::{Entry, Limit};

/// A question: may this pass?
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// The namespace of rules it is about.
    pub domain: &'a str,
    /// Hits of each descriptor that has none of its own; 0 means 1.
    pub hits_addend: u32,
    /// How long the caller waits for the answer, if that was said.
    pub patience: Option<Duration>,
    entries: SmallVec<[Entry<'a>; 8]>,
    descriptors: SmallVec<[Descriptor; 4]>,
}

/// One descriptor of a request; [`Request::entries`] has its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    entries: Range<u32>,
    /// What it asks for.
    pub terms: Terms,
}

/// What a descriptor asks for, beside its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// A limit of the caller's own, taken instead of the rules.
    pub limit: Option<Limit>,
    /// Hits of this descriptor; 0 looks without counting.
    pub hits: Option<u64>,
    /// Whether the hits are spent or given back.
    pub direction: Direction,
}

/// Which way hits go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Hits count against the limit.
    #[default]
    Spend,
    /// Hits are taken off the counter.
    GiveBack,
}

impl<'a> Request<'a> {
    /// A request about `domain` without descriptors.
    pub fn new(domain: &'a str, hits_addend: u32) -> Self {
        Self { domain, hits_addend, ..Self::default() }
    }

    /// Adds a descriptor.
    pub fn push(&mut self, entries: impl IntoIterator<Item = Entry<'a>>, terms: Terms) {
        let start = self.entries.len() as u32;
        self.entries.extend(entries);
        let entries = start..self.entries.len() as u32;
        self.descriptors.push(Descriptor { entries, terms });
    }

    /// The descriptors, in order.
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }

    /// The entries of one of this request's descriptors, in order.
    pub fn entries(&self, descriptor: &Descriptor) -> &[Entry<'a>] {
        &self.entries[descriptor.entries.start as usize..descriptor.entries.end as usize]
    }

    /// What a descriptor adds: its own hits if it has any, else the request's, at least 1.
    pub fn hits(&self, descriptor: &Descriptor) -> u64 {
        descriptor.terms.hits.unwrap_or_else(|| self.hits_addend.max(1).into())
    }
}
