//! Who a client says it is, given once or read from a file for each connection.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::secret::Secret;

/// The most that is read of a file: far more than any password.
const MAX_BYTES: u64 = 65_536;

/// Where a login comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// It is known and stays.
    Given(Login),
    /// It stands in a file, which is read anew for each connection, so that a password can
    /// be replaced while the process runs.
    File(PathBuf),
}

/// Who a client says it is; empty, it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The user; none is Redis' `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

impl Credentials {
    /// The login as it is now.
    ///
    /// # Errors
    ///
    /// The file cannot be read. What it holds is never quoted.
    pub async fn read(&self) -> io::Result<Login> {
        let path = match self {
            Self::Given(login) => return Ok(login.clone()),
            Self::File(path) => path.clone(),
        };
        let named = path.clone();
        let text = tokio::task::spawn_blocking(move || read(&path)).await.map_err(io::Error::other);
        let text = text.and_then(|text| text).map_err(|error| {
            io::Error::new(error.kind(), format!("the login in {}: {error}", named.display()))
        })?;
        Ok(Login::parse(&text))
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self::Given(Login::default())
    }
}

impl Login {
    /// Reads `password` or `user:password`, split at the first colon; nothing is no login.
    /// A password that holds a colon is written with an empty user: `:pass:word`.
    pub fn parse(auth: &Secret) -> Self {
        if auth.expose().is_empty() {
            return Self::default();
        }
        let (user, password) = auth.expose().split_once(':').unwrap_or(("", auth.expose()));
        Self {
            user: Some(user.to_owned()).filter(|user| !user.is_empty()),
            password: Some(Secret::new(password)),
        }
    }
}

/// The text of a file without the end of its last line.
fn read(path: &Path) -> io::Result<Secret> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_BYTES {
        return Err(io::Error::other("too long to be a login"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}
