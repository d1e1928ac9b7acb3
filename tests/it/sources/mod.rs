//! Rule files in temporary directories: which are found, and what a change delivers.

mod directory;
mod replaced;
mod watch;
mod xds;

use std::fs;
use std::path::Path;
use std::time::Duration;

use tidegate::sources::files::{FileSet, FileSource, Options, SourceError};

/// Options for `root` itself: every file in it, looked at often.
fn options(root: &Path) -> Options {
    Options {
        root: root.to_owned(),
        subdirectory: String::new(),
        app_directory: String::new(),
        ignore_dot_files: false,
        watch_root: false,
        max_file_bytes: 1024 * 1024,
        max_files: 100,
        poll_interval: Duration::from_millis(10),
    }
}

fn read(options: Options) -> Result<FileSet, SourceError> {
    FileSource::new(options).read()
}

/// Writes a file, and the directories above it.
fn write(root: &Path, name: &str, content: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A set as `name=content` pairs.
fn shown(set: &FileSet) -> Vec<String> {
    let show = |file: &tidegate::rules::SourceFile| {
        format!("{}={}", file.name, String::from_utf8_lossy(&file.bytes))
    };
    set.files.iter().map(show).collect()
}
