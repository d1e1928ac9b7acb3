//! What the documentation shows works.

use std::fs;
use std::path::Path;

use tidegate::rules::{Options, SourceFile, load};
use tidegate::telemetry::families;

/// The YAML examples of a page that are whole rule files.
fn examples(page: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.starts_with("domain:")).map(str::to_owned).collect()
}

#[test]
fn every_rule_file_that_is_shown_is_good() {
    for (page, count) in [("README.md", 1), ("docs/rules.md", 3), ("docs/algorithms.md", 2)] {
        // An outline stands beside them, with dots for what is left out.
        let whole: Vec<_> = examples(page).into_iter().filter(|e| !e.contains("...  ")).collect();
        assert!(whole.len() >= count, "{page}: {}", whole.len());
        for example in whole {
            let file = SourceFile { name: page.to_owned(), bytes: example.clone().into_bytes() };
            let loaded = load(&[file], Options::default());
            let loaded = loaded.unwrap_or_else(|e| panic!("{page}: {e}\n{example}"));
            assert_eq!(loaded.warnings, [], "{page}\n{example}");
        }
    }
}

#[test]
fn every_metric_is_documented_under_both_names() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    for metric in families::ALL {
        let row = format!("| `{}` | `{}` | ", metric.statsd(), metric.prometheus());
        assert_eq!(page.matches(&row).count(), 1, "{row}");
    }
    assert_eq!(page.lines().filter(|line| line.starts_with("| `ratelimit")).count(), 29);
    assert_eq!(families::ALL.len(), 32);
}
