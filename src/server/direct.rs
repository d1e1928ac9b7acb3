//! The way of a call to its service: straight for the service that nearly all calls are for,
//! by the router for all others.
//!
//! The router boxes a call and copies its service; that is a good part of what a decision
//! costs (docs/performance.md).

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;

/// A service before a router.
#[derive(Clone, Debug)]
pub(super) struct Direct<S> {
    /// Takes the calls that name it.
    pub(super) first: S,
    /// Takes all others.
    pub(super) others: Routes,
}

impl<S> Service<Request<Body>> for Direct<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, <Routes as Service<Request<Body>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Neither keeps anybody waiting here, but both want to be asked.
        match self.first.poll_ready(cx) {
            Poll::Ready(Ok(())) => Service::<Request<Body>>::poll_ready(&mut self.others, cx),
            other => other,
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match names(request.uri().path(), S::NAME) {
            true => Either::Left(self.first.call(request)),
            false => Either::Right(self.others.call(request)),
        }
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
