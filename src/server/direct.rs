//! The way of a call to its service: straight for the service that nearly all calls are for,
//! by the router for all others.
//!
//! The router boxes a call and copies its service; that is a good part of what a decision
//! costs (docs/performance.md).

use std::convert::Infallible;

use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::server::NamedService;
use tonic::service::Routes;

use super::question::Question;
use super::rate_limit::RateLimit;
use crate::store::Store;
use crate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitServiceServer;

/// The services of the gRPC listener.
#[derive(Debug)]
pub(super) struct Direct<S> {
    /// What nearly all calls are for.
    pub(super) first: RateLimitServiceServer<RateLimit<S>>,
    /// Takes all others.
    pub(super) others: Routes,
}

impl<S: Store> Direct<S> {
    /// Asks whomever the path names. Nobody keeps a caller waiting to be ready here.
    pub(super) fn ask(
        &self,
        request: Request<Question<Incoming>>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<S> {
        match names(request.uri().path(), RateLimitServiceServer::<RateLimit<S>>::NAME) {
            true => Either::Left(self.first.clone().call(request)),
            false => Either::Right(self.others.clone().call(request)),
        }
    }
}

impl<S> Clone for Direct<S> {
    fn clone(&self) -> Self {
        Self { first: self.first.clone(), others: self.others.clone() }
    }
}

/// Whether a path is that of a method of `service`.
fn names(path: &str, service: &str) -> bool {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(service));
    method.is_some_and(|method| method.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_with_a_method() {
        let check = |path, expected| assert_eq!(names(path, "a.B"), expected, "{path}");
        check("/a.B/Method", true);
        check("/a.B/", true);
        check("/a.B", false);
        check("/a.Bc/Method", false);
        check("a.B/Method", false);
        check("/", false);
    }
}
