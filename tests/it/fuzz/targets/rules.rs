//! Bytes as rule files, several of them where a record separator stands in between.

use std::collections::HashMap;

use tidegate::rules::{Options, Problem, SourceFile, load};

use super::Outcome;
use super::words::{look_up, words};

/// Separates files; it may stand in no YAML.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// Loads the files and looks up what they say; files of an input of odd length add up.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let files: Vec<SourceFile> = bytes
        .split(|byte| *byte == SEPARATOR)
        .take(8)
        .enumerate()
        .map(|(number, part)| SourceFile { name: format!("{number}.yaml"), bytes: part.to_vec() })
        .collect();
    let lines = lines(&files);
    let options = Options { merge_domains: bytes.len() % 2 == 1, ..Options::default() };
    match load(&files, options) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| check(warning, &lines));
            look_up(&loaded.ruleset, &words(&String::from_utf8_lossy(bytes)));
            Outcome::Taken
        }
        Err(rejected) => {
            assert!(!rejected.errors.is_empty());
            rejected.errors.iter().chain(&rejected.warnings).for_each(|p| check(p, &lines));
            assert!(rejected.to_string().lines().count() <= 101, "a log line has an end");
            Outcome::Refused
        }
    }
}

/// How many lines each file has.
type Lines = HashMap<String, (usize, usize)>;

fn lines(files: &[SourceFile]) -> Lines {
    let is_end = |byte: &&u8| matches!(byte, b'\n' | b'\r');
    let lines =
        |file: &SourceFile| (1 + file.bytes.iter().filter(is_end).count(), file.bytes.len());
    files.iter().map(|file| (file.name.clone(), lines(file))).collect()
}

/// A problem is in one of the files, on a line that it has.
fn check(problem: &Problem, lines: &Lines) {
    let Some((lines, length)) = lines.get(&problem.file) else { panic!("no such file: {problem}") };
    // Where nothing is there is no line.
    if !problem.found.ends_with("nothing is there") {
        assert!((1..=*lines).contains(&problem.line), "{lines} lines: {problem}");
        assert!((1..=length + 2).contains(&problem.column), "{problem}");
    }
    assert!(!problem.found.is_empty());
    let shown = problem.to_string();
    assert_eq!(shown.lines().count(), 1, "one line: {shown:?}");
    assert!(shown.len() < 10_000, "{shown}");
}
