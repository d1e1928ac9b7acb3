//! Rule files: which ones there are, what they hold, and when that changes.
//!
//! Changes are found by polling. Rule directories are swapped by renames and by flipped
//! links, at any level; inotify watches inodes, so each such scheme needs watches of its
//! own, and a missed one is a reload that never comes. A poll of a handful of files'
//! metadata sees every scheme the same way, on every file system.
//!
//! Every poll takes a *scan*: which files there are, and their device, inode, size and
//! times. A scan that differs from the last is followed until two in a row agree, so that
//! a burst of writes is one reload and a half-written file is not read; the files are then
//! read, and count as read only if the next scan still agrees.

mod scan;
mod watch;

use std::fs::File;
use std::hash::Hash;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use siphasher::sip128::{Hasher128, SipHasher13};

use self::scan::{Found, Scan};
use super::RuleSet;
use crate::rules::{self, Loaded, Rejected, SourceFile};

/// Where rule files are, and how much of them is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The directory that holds the rules; it may be a link that is flipped.
    pub root: PathBuf,
    /// A directory below it; may be empty.
    pub subdirectory: String,
    /// A directory below that; or, with `watch_root`, what keys begin with.
    pub app_directory: String,
    /// Files and directories that begin with a dot are skipped. Those that begin with two
    /// always are: Kubernetes keeps its versions of a volume there.
    pub ignore_dot_files: bool,
    /// Root and subdirectory are walked, for files whose key (their path below it, `/`
    /// written as `.`) begins with the app directory and a dot. Otherwise root,
    /// subdirectory and app directory are walked, for all files.
    pub watch_root: bool,
    /// The size of the largest file that is read, in bytes.
    pub max_file_bytes: u64,
    /// How many files are read.
    pub max_files: usize,
    /// The time between two looks for changes.
    pub poll_interval: Duration,
}

/// All rule files as they were at one moment, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSet {
    /// The files.
    pub files: Vec<SourceFile>,
    /// What was skipped, one line each.
    pub warnings: Vec<String>,
}

/// Why there is no set of files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The directory of the rules does not exist.
    #[error("the rules directory {} does not exist", .0.display())]
    Missing(PathBuf),
    /// There were rule files, and now there are none.
    #[error("there are no rule files any more in {}", .0.display())]
    Emptied(PathBuf),
    /// A file or directory cannot be read.
    #[error("{} cannot be read: {reason}", .path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file is too large.
    #[error("{name} has {size} bytes; the maximum is {max}")]
    TooLarge {
        /// The file's name.
        name: String,
        /// Its size in bytes; at least this when it is growing.
        size: u64,
        /// The largest size allowed.
        max: u64,
    },
    /// There are too many files.
    #[error("there are more than {max} {what} in {}", .directory.display())]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// Where.
        directory: PathBuf,
        /// How many are allowed.
        max: usize,
    },
    /// Reading was broken off, because the process ends.
    #[error("reading the rule files was broken off")]
    Interrupted,
}

impl RuleSet for FileSet {
    type Error = SourceError;

    fn digest(&self) -> u128 {
        let mut hasher = SipHasher13::new();
        for file in &self.files {
            file.name.hash(&mut hasher);
            file.bytes.hash(&mut hasher);
        }
        hasher.finish128().as_u128()
    }

    fn size(&self) -> usize {
        self.files.len()
    }

    fn load(&self, options: rules::Options) -> Result<Loaded, Rejected> {
        rules::load(&self.files, options)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl SourceError {
    fn unreadable(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Unreadable { path: path.into(), reason: error.to_string() }
    }
}

/// The rule files of one place, and what was last delivered of them.
#[derive(Debug)]
pub struct FileSource {
    options: Arc<Options>,
    /// The scan behind the last look, if the files had settled by then. Only then is a scan
    /// worth comparing with: two writes within one tick of the file system's clock look
    /// the same.
    seen: Option<Result<Scan, SourceError>>,
    /// What was last delivered.
    delivered: Option<Result<u128, SourceError>>,
    /// Whether there ever were files.
    had_files: bool,
}

impl FileSource {
    /// The source for that place; nothing is read yet.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options), seen: None, delivered: None, had_files: false }
    }

    /// Reads the set as it is now, and remembers it as delivered. Blocks on files.
    ///
    /// An empty directory is a set, with a warning, as long as there never were files.
    ///
    /// # Errors
    ///
    /// Any [`SourceError`]; nothing is skipped because it cannot be read.
    pub fn read(&mut self) -> Result<FileSet, SourceError> {
        let set = read_consistent(&self.options);
        self.deliver_unsettled(set)
    }

    /// Takes a set that was read without waiting for the files to settle.
    fn deliver_unsettled(
        &mut self,
        set: Result<FileSet, SourceError>,
    ) -> Result<FileSet, SourceError> {
        self.seen = None;
        let set = self.judge(set);
        self.remember(&set);
        set
    }

    /// An empty set is an error once there were files: someone's mistake, most likely.
    fn judge(&self, set: Result<FileSet, SourceError>) -> Result<FileSet, SourceError> {
        let mut set = set?;
        if set.files.is_empty() {
            let directory = self.options.directory();
            if self.had_files {
                return Err(SourceError::Emptied(directory));
            }
            set.warnings.push(match self.options.key_prefix() {
                Some(prefix) => {
                    let directory = directory.display();
                    format!("there are no rule files in {directory} that begin with {prefix}")
                }
                None => format!("there are no rule files in {}", directory.display()),
            });
        }
        Ok(set)
    }

    /// Notes a delivery; says whether it is news.
    fn remember(&mut self, set: &Result<FileSet, SourceError>) -> bool {
        self.had_files |= set.as_ref().is_ok_and(|set| !set.files.is_empty());
        let now = set.as_ref().map(FileSet::digest).map_err(Clone::clone);
        self.delivered.replace(now.clone()) != Some(now)
    }
}

impl Options {
    /// The directory that is walked.
    fn directory(&self) -> PathBuf {
        let app = if self.watch_root { "" } else { &self.app_directory };
        let mut directory = self.root.clone();
        // A leading slash would make `push` forget what came before.
        let parts = [&self.subdirectory, app].map(|part| part.trim_matches('/'));
        parts.iter().filter(|part| !part.is_empty()).for_each(|part| directory.push(part));
        directory
    }

    /// What the keys of rule files begin with, if that matters.
    fn key_prefix(&self) -> Option<String> {
        let app = self.app_directory.trim_matches('/');
        (self.watch_root && !app.is_empty()).then(|| format!("{}.", app.replace('/', ".")))
    }
}

/// Reads the files, again if they changed meanwhile; but not for ever.
fn read_consistent(options: &Options) -> Result<FileSet, SourceError> {
    const ATTEMPTS: usize = 5;
    let mut before = scan::scan(options);
    let mut set = read_scan(options, &before);
    for _ in 1..ATTEMPTS {
        let after = scan::scan(options);
        if after == before {
            break;
        }
        set = read_scan(options, &after);
        before = after;
    }
    set
}

/// Reads the files of a scan.
fn read_scan(options: &Options, scan: &Result<Scan, SourceError>) -> Result<FileSet, SourceError> {
    let scan = scan.as_ref().map_err(Clone::clone)?;
    let files = scan.files.iter().map(|found| read_file(found, options.max_file_bytes));
    Ok(FileSet { files: files.collect::<Result<_, _>>()?, warnings: scan.warnings.clone() })
}

/// Reads one file. The scan found it to be a regular one, but by now something else may have
/// its name: opened so, nothing blocks, and the file that is open is the one that is judged.
fn read_file(found: &Found, max: u64) -> Result<SourceFile, SourceError> {
    let unreadable = |error| SourceError::unreadable(&found.path, &error);
    let too_large = |size| SourceError::TooLarge { name: found.name.clone(), size, max };
    if found.size > max {
        return Err(too_large(found.size));
    }
    let mut bytes = Vec::new();
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblock).open(&found.path);
    let file = file.map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file any more")));
    }
    // One byte more than allowed shows that the file has grown since the scan.
    let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if read as u64 > max {
        return Err(too_large(read as u64));
    }
    Ok(SourceFile { name: found.name.clone(), bytes })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_became_a_pipe_since_the_scan_does_not_block() {
        let root = tempfile::tempdir().unwrap();
        let options = Options {
            root: root.path().to_owned(),
            subdirectory: String::new(),
            app_directory: String::new(),
            ignore_dot_files: false,
            watch_root: false,
            max_file_bytes: 1024,
            max_files: 10,
            poll_interval: Duration::from_secs(1),
        };
        let path = root.path().join("a.yaml");
        std::fs::write(&path, "domain: a").unwrap();
        let scan = scan::scan(&options);
        assert_eq!(read_scan(&options, &scan).unwrap().files.len(), 1);
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = read_scan(&options, &scan).unwrap_err().to_string();
        assert!(error.contains("a.yaml") && error.contains("not a regular file"), "{error}");
    }
}
