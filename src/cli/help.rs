//! The list of settings under `--help`.

use std::fmt::Write as _;

use tidegate::settings::Settings;

/// Every variable with its default, by group.
pub(crate) fn settings() -> String {
    let mut text = String::from("Environment variables:\n");
    let mut group = "";
    for declared in &Settings::reference() {
        if declared.group != group {
            group = declared.group;
            let _ = write!(text, "\n  {group}\n");
        }
        let _ = write!(
            text,
            "    {} [{}]\n        {}\n",
            declared.name, declared.default, declared.help
        );
    }
    text
}
