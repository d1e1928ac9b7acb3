//! Finds the rule files of a directory without opening any.
//!
//! Links to files are followed, links to directories are not; so a walk always ends.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Options, SourceError};

/// How many directory entries are looked at, rule files or not: a root that is set to a
/// whole disk must not keep the process busy.
const MAX_ENTRIES: usize = 200_000;

/// `ELOOP` of Linux: links that lead in a circle. Its `ErrorKind` is not stable yet.
const LOOP: i32 = 40;

/// What a directory holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The rule files, sorted by name.
    pub(super) files: Vec<Found>,
    /// What was skipped.
    pub(super) warnings: Vec<String>,
}

/// A rule file: a changed content shows in one of these fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// The path below the walked directory.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Walks the directory.
pub(super) fn scan(options: &Options) -> Result<Scan, SourceError> {
    let directory = options.directory();
    let mut walk = Walk {
        options,
        prefix: options.key_prefix().unwrap_or_default(),
        entries: 0,
        pending: vec![(directory.clone(), String::new())],
        scan: Scan { files: Vec::new(), warnings: Vec::new() },
    };
    while let Some((path, name)) = walk.pending.pop() {
        match walk.directory(&path, &name) {
            // A directory below may go while it is looked at; without the first there is
            // nothing.
            Err(SourceError::Missing(_)) if !name.is_empty() => {}
            result => result?,
        }
    }
    walk.scan.files.sort();
    walk.scan.warnings.sort();
    Ok(walk.scan)
}

struct Walk<'a> {
    options: &'a Options,
    prefix: String,
    entries: usize,
    /// Directories still to be entered: path, and name below the first.
    pending: Vec<(PathBuf, String)>,
    scan: Scan,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, name: &str) -> Result<(), SourceError> {
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => SourceError::Missing(path.to_owned()),
            _ => SourceError::unreadable(path, &error),
        };
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.entries += 1;
            self.bounded(self.entries, MAX_ENTRIES, "directory entries")?;
            if self.hidden(&entry.file_name()) {
                continue;
            }
            let separator = if name.is_empty() { "" } else { "/" };
            let name = format!("{name}{separator}{}", entry.file_name().to_string_lossy());
            self.entry(&entry, name)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &DirEntry, name: String) -> Result<(), SourceError> {
        let path = entry.path();
        let unreadable = |error| SourceError::unreadable(&path, &error);
        let kind = entry.file_type().map_err(unreadable)?;
        let key = name.replace('/', ".");
        if kind.is_dir() {
            // Only directories that can lead to the prefix are worth a walk.
            let key = format!("{key}.");
            if key.starts_with(&self.prefix) || self.prefix.starts_with(&key) {
                self.pending.push((path, name));
            }
            return Ok(());
        }
        if !key.starts_with(&self.prefix) {
            return Ok(());
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                self.scan.files.push(Found::new(name, path, &metadata));
                let files = self.scan.files.len();
                return self.bounded(files, self.options.max_files, "rule files");
            }
            Ok(metadata) if metadata.is_dir() => {
                self.skip(&name, "is a link to a directory");
            }
            Ok(_) => self.skip(&name, "is not a regular file"),
            Err(_) if kind.is_symlink() && leads_nowhere(&path) => {
                self.skip(&name, "is a link that leads nowhere");
            }
            // It has gone since the directory was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(error)),
        }
        Ok(())
    }

    fn hidden(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        name.starts_with(b"..") || (self.options.ignore_dot_files && name.starts_with(b"."))
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.scan.warnings.push(format!("{name} {why}: it is skipped"));
    }

    fn bounded(&self, count: usize, max: usize, what: &'static str) -> Result<(), SourceError> {
        if count > max {
            let directory = self.options.directory();
            return Err(SourceError::TooMany { what, directory, max });
        }
        Ok(())
    }
}

/// Whether the link is still there but its target is not.
fn leads_nowhere(link: &Path) -> bool {
    let nowhere = |error: io::Error| {
        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
            || error.raw_os_error() == Some(LOOP)
    };
    fs::symlink_metadata(link).is_ok() && fs::metadata(link).is_err_and(nowhere)
}

impl Found {
    fn new(name: String, path: PathBuf, metadata: &Metadata) -> Self {
        Self {
            name,
            path,
            size: metadata.size(),
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
