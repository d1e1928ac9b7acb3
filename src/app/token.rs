//! The token that must be shown to look inside, from the environment or a file.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::OFlags;

use crate::server::Token;
use crate::settings::{AdminToken, TOKEN, is_token};
use crate::store::secret::Secret;

/// The largest file that is read for one.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads it.
///
/// # Errors
///
/// The file cannot be read or does not hold a token: what shall be guarded must not be open.
pub(super) fn read(token: Option<&AdminToken>) -> anyhow::Result<Token> {
    match token {
        None => Ok(Token::none()),
        Some(AdminToken::Text(secret)) => Ok(Token::new(secret)),
        Some(AdminToken::File(path)) => {
            let read = from_file(path);
            let secret = read.with_context(|| format!("no token in {}", path.display()))?;
            Ok(Token::new(&secret))
        }
    }
}

fn from_file(path: &Path) -> anyhow::Result<Secret> {
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblock).open(path)?;
    anyhow::ensure!(file.metadata()?.is_file(), "it is not a regular file");
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    let text = text.trim();
    anyhow::ensure!(is_token(text), "it must hold {TOKEN}");
    Ok(Secret::new(text))
}
