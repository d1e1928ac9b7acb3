//! What a change of the files delivers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::{TempDir, tempdir};
use tidegate::sources::files::{FileSet, FileSource, Options, SourceError};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{options, shown, write};

/// A source being watched, and what it delivers.
struct Watched {
    sets: mpsc::UnboundedReceiver<Result<FileSet, SourceError>>,
    reload_now: Arc<Notify>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// Reads the set, then watches.
fn watch(options: Options) -> Watched {
    let mut source = FileSource::new(options);
    let _ = source.read();
    follow(source)
}

fn follow(source: FileSource) -> Watched {
    let (sender, sets) = mpsc::unbounded_channel();
    let reload_now = Arc::new(Notify::new());
    let cancel = CancellationToken::new();
    let on_set = move |set| {
        drop(sender.send(set));
        std::future::ready(())
    };
    let task = tokio::spawn(source.watch(Arc::clone(&reload_now), cancel.clone(), on_set));
    Watched { sets, reload_now, cancel, task }
}

impl Watched {
    async fn next(&mut self) -> Result<FileSet, SourceError> {
        let set = timeout(Duration::from_secs(20), self.sets.recv()).await;
        set.expect("nothing was delivered").expect("the watch has ended")
    }

    async fn files(&mut self) -> Vec<String> {
        shown(&self.next().await.unwrap())
    }

    /// Holds that nothing is delivered for a while; for tests whose time is paused.
    async fn nothing(&mut self) {
        let set = timeout(Duration::from_secs(60), self.sets.recv()).await;
        assert!(set.is_err(), "{set:?} was delivered");
    }
}

/// A directory with one file.
fn directory() -> TempDir {
    let root = tempdir().unwrap();
    write(root.path(), "a.yaml", "one");
    root
}

/// Makes `link` point to `target`, in one step.
fn flip(link: &Path, target: &str) {
    let new = link.with_file_name("..new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[tokio::test]
async fn a_write_in_place_is_delivered() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    write(root.path(), "a.yaml", "two");
    assert_eq!(watched.files().await, ["a.yaml=two"]);
}

#[tokio::test]
async fn a_rename_is_delivered() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    write(root.path(), "..a.yaml", "two");
    fs::rename(root.path().join("..a.yaml"), root.path().join("a.yaml")).unwrap();
    assert_eq!(watched.files().await, ["a.yaml=two"]);
}

#[tokio::test]
async fn new_and_removed_files_are_delivered_at_any_depth() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    write(root.path(), "deep/er/b.yaml", "b");
    assert_eq!(watched.files().await, ["a.yaml=one", "deep/er/b.yaml=b"]);
    fs::remove_file(root.path().join("a.yaml")).unwrap();
    assert_eq!(watched.files().await, ["deep/er/b.yaml=b"]);
    fs::rename(root.path().join("deep"), root.path().join("flat")).unwrap();
    assert_eq!(watched.files().await, ["flat/er/b.yaml=b"]);
}

#[tokio::test]
async fn a_config_map_is_followed_through_its_swaps() {
    let root = tempdir().unwrap();
    let rules = root.path();
    write(rules, "..v1/a.yaml", "one");
    symlink("..v1", rules.join("..data")).unwrap();
    symlink("..data/a.yaml", rules.join("a.yaml")).unwrap();
    let mut watched = watch(options(rules));
    for (old, new, content) in [("..v1", "..v2", "two"), ("..v2", "..v3", "three")] {
        write(rules, &format!("{new}/a.yaml"), content);
        flip(&rules.join("..data"), new);
        fs::remove_dir_all(rules.join(old)).unwrap();
        assert_eq!(watched.files().await, [format!("a.yaml={content}")]);
    }
}

#[tokio::test]
async fn a_flipped_root_is_followed() {
    let place = tempdir().unwrap();
    write(place.path(), "v1/sub/config/a.yaml", "one");
    write(place.path(), "v2/sub/config/a.yaml", "two");
    let current = place.path().join("current");
    symlink("v1", &current).unwrap();
    let mut options = options(&current);
    options.subdirectory = "sub".to_owned();
    options.app_directory = "config".to_owned();
    options.watch_root = true;
    let mut watched = watch(options);
    flip(&current, "v2");
    assert_eq!(watched.files().await, ["config/a.yaml=two"]);
    flip(&current, "v1");
    assert_eq!(watched.files().await, ["config/a.yaml=one"]);
}

#[tokio::test]
async fn a_burst_ends_with_its_last_content_and_few_deliveries() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    for i in 0..50 {
        write(root.path(), "a.yaml", &format!("write {i}"));
        tokio::task::yield_now().await;
    }
    let mut deliveries = 1;
    while watched.files().await != ["a.yaml=write 49"] {
        deliveries += 1;
    }
    assert!(deliveries <= 5, "{deliveries} deliveries");
}

#[tokio::test]
async fn a_directory_that_never_settles_is_delivered_all_the_same() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    let path = root.path().to_owned();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let guard = stop.drop_guard(); // a failing test ends the writer too
    // By renames, so that every look finds another whole content.
    let writer = std::thread::spawn(move || {
        for i in 0_u64.. {
            write(&path, "..new", &i.to_string());
            fs::rename(path.join("..new"), path.join("b.yaml")).unwrap();
            if stopped.is_cancelled() {
                break;
            }
        }
    });
    for _ in 0..2 {
        assert!(watched.files().await.contains(&"a.yaml=one".to_owned()));
    }
    drop(guard);
    writer.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_content_is_not_delivered_again() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    watched.nothing().await;
    let again = root.path().join("..again");
    fs::write(&again, "one").unwrap();
    fs::rename(&again, root.path().join("a.yaml")).unwrap();
    watched.nothing().await;
    write(root.path(), "a.yaml", "something else");
    assert_eq!(watched.files().await, ["a.yaml=something else"]);
    watched.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_directory_is_one_error_and_its_return_one_set() {
    let root = tempdir().unwrap();
    let rules = root.path().join("rules");
    write(&rules, "a.yaml", "one");
    let mut watched = watch(options(&rules));
    let away = root.path().join("away");
    fs::rename(&rules, &away).unwrap();
    assert_eq!(watched.next().await, Err(SourceError::Missing(rules.clone())));
    watched.nothing().await;
    fs::rename(&away, &rules).unwrap();
    assert_eq!(watched.files().await, ["a.yaml=one"]);
    watched.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_emptied_directory_is_one_error() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    fs::remove_file(root.path().join("a.yaml")).unwrap();
    assert_eq!(watched.next().await, Err(SourceError::Emptied(root.path().to_owned())));
    watched.nothing().await;
    watched.reload_now.notify_one();
    assert_eq!(watched.next().await, Err(SourceError::Emptied(root.path().to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_directory_may_start_empty_or_late() {
    let root = tempdir().unwrap();
    let rules = root.path().join("rules");
    let mut watched = watch(options(&rules));
    watched.nothing().await; // that it is missing is known from the first read
    fs::create_dir(&rules).unwrap();
    assert!(watched.files().await.is_empty());
    write(&rules, "a.yaml", "one");
    assert_eq!(watched.files().await, ["a.yaml=one"]);
}

#[tokio::test]
async fn without_a_first_read_the_first_set_is_delivered() {
    let root = directory();
    let mut watched = follow(FileSource::new(options(root.path())));
    assert_eq!(watched.files().await, ["a.yaml=one"]);
}

#[tokio::test]
async fn a_file_that_grows_too_large_is_an_error_until_it_shrinks() {
    let root = directory();
    let mut options = options(root.path());
    options.max_file_bytes = 5;
    let mut watched = watch(options);
    write(root.path(), "a.yaml", "123456");
    let too_large = SourceError::TooLarge { name: "a.yaml".to_owned(), size: 6, max: 5 };
    assert_eq!(watched.next().await, Err(too_large));
    write(root.path(), "a.yaml", "one");
    assert_eq!(watched.files().await, ["a.yaml=one"]);
}

#[tokio::test]
async fn a_notice_delivers_at_once_even_what_did_not_change() {
    let root = directory();
    let mut options = options(root.path());
    options.poll_interval = Duration::from_secs(3600);
    let mut watched = watch(options);
    watched.reload_now.notify_one();
    assert_eq!(watched.files().await, ["a.yaml=one"]);
    write(root.path(), "a.yaml", "two");
    watched.reload_now.notify_one();
    assert_eq!(watched.files().await, ["a.yaml=two"]);
}

#[tokio::test]
async fn the_watch_ends_when_it_is_told_to() {
    let root = directory();
    let mut watched = watch(options(root.path()));
    watched.cancel.cancel();
    assert!(watched.sets.recv().await.is_none());
    watched.task.await.unwrap();
}
