//! What guards answers over HTTP: headers on each, and a token before those for operators.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::doors::{Doors, Turned};
use crate::store::secret::Secret;

/// What a caller must show, if it must show anything. Only its digest is kept.
#[derive(Clone)]
pub struct Token(Option<Digest>);

impl Token {
    /// Nothing needs to be shown.
    pub fn none() -> Self {
        Self(None)
    }

    /// `secret` must be shown.
    pub fn new(secret: &Secret) -> Self {
        Self(Some(digest(&SHA256, secret.expose().as_bytes())))
    }

    /// Whether `request` shows it. Digests have one length and are compared in a time that
    /// does not depend on them.
    fn is_shown(&self, request: &Request) -> bool {
        let Self(Some(expected)) = self else { return true };
        let shown = request.headers().get(header::AUTHORIZATION).and_then(token);
        shown.is_some_and(|token| {
            let shown = digest(&SHA256, &token);
            verify_slices_are_equal(expected.as_ref(), shown.as_ref()).is_ok()
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Token([redacted])" } else { "Token(none)" })
    }
}

/// The token of a header such as `Bearer abc`; or, as browsers ask for nothing else, the
/// password of `Basic`, whoever it is for.
fn token(value: &HeaderValue) -> Option<Cow<'_, [u8]>> {
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    let text = text.trim();
    if scheme.eq_ignore_ascii_case("Bearer") {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let login =
        scheme.eq_ignore_ascii_case("Basic").then(|| BASE64_STANDARD.decode(text).ok())??;
    let colon = login.iter().position(|byte| *byte == b':')?;
    Some(Cow::Owned(login[colon + 1..].to_vec()))
}

/// `router`, where each of its routes asks for the token. What is not there may be asked for.
pub(super) fn guarded<S>(router: Router<S>, token: &Token, doors: &Arc<Doors>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let (token, doors) = (token.clone(), Arc::clone(doors));
    router.route_layer(middleware::from_fn(move |request: Request, next: Next| {
        let is_shown = token.is_shown(&request);
        let doors = Arc::clone(&doors);
        async move {
            match is_shown {
                true => next.run(request).await,
                false => {
                    doors.turn(Turned::Unknown);
                    unauthorized()
                }
            }
        }
    }))
}

fn unauthorized() -> Response {
    let challenge =
        [(header::WWW_AUTHENTICATE, "Bearer realm=\"tidegate\", Basic realm=\"tidegate\"")];
    let reason = "Unauthorized\nshow the token of TIDEGATE_ADMIN_TOKEN: Authorization: Bearer ..., \
                  or as a password\n";
    (StatusCode::UNAUTHORIZED, challenge, reason).into_response()
}

/// What every answer says: a browser shall guess no type, keep nothing, run nothing, load
/// nothing but the style of the status page, and show it in nobody's frame.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// `response` with the headers of security.
pub(super) fn secured(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_whole_or_not_at_all() {
        let token = Token::new(&Secret::new("0123456789abcdef"));
        let check = |value: Option<&str>, expected| {
            let mut request = Request::new(Body::empty());
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            assert_eq!(token.is_shown(&request), expected, "{value:?}");
            assert!(Token::none().is_shown(&request));
        };
        check(Some("Bearer 0123456789abcdef"), true);
        check(Some("bearer  0123456789abcdef "), true);
        check(None, false);
        check(Some(""), false);
        check(Some("Bearer"), false);
        check(Some("Bearer "), false);
        check(Some("Bearer 0123456789abcde"), false);
        check(Some("Bearer 0123456789abcdef0"), false);
        check(Some("Basic 0123456789abcdef"), false);
        check(Some(&format!("Basic {}", BASE64_STANDARD.encode("me:0123456789abcdef"))), true);
        check(Some(&format!("Basic {}", BASE64_STANDARD.encode("0123456789abcdef:"))), false);
        check(Some("0123456789abcdef"), false);
        assert!(!format!("{token:?}").contains("0123"));
    }
}
