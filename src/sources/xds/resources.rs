//! A set of resources: what a management server sent, in an order of its own.
//!
//! The order in which resources come means nothing, so it changes neither the digest nor
//! what compiles. The order inside a resource does.

use std::hash::Hash;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::rules::{self, Loaded, Options, Rejected, Resource};
use crate::sources::RuleSet;
use crate::wire::discovery::DiscoveryError;

/// All resources of one answer, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSet {
    resources: Vec<Resource>,
    digest: u128,
}

impl ResourceSet {
    /// The set of these resources.
    pub fn new(resources: Vec<Resource>) -> Self {
        let mut digests: Vec<(u128, Resource)> =
            resources.into_iter().map(|resource| (digest(&resource), resource)).collect();
        digests.sort_by(|(a, left), (b, right)| (&left.name, a).cmp(&(&right.name, b)));
        let all: Vec<u128> = digests.iter().map(|(digest, _)| *digest).collect();
        let resources = digests.into_iter().map(|(_, resource)| resource).collect();
        Self { resources, digest: digest(&all) }
    }

    /// The resources, by name.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }
}

impl RuleSet for ResourceSet {
    type Error = DiscoveryError;

    fn digest(&self) -> u128 {
        self.digest
    }

    fn size(&self) -> usize {
        self.resources.len()
    }

    fn load(&self, options: Options) -> Result<Loaded, Rejected> {
        rules::load_resources(&self.resources, options)
    }
}

fn digest(value: &impl Hash) -> u128 {
    let mut hasher = SipHasher13::new();
    value.hash(&mut hasher);
    hasher.finish128().as_u128()
}
