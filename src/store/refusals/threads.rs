//! The table once more, over modelled cells: its tests run for many orders of threads.

#![allow(dead_code, unreachable_pub, reason = "tests use a part of it")]
#![allow(clippy::duplicate_mod, reason = "it is the same file, with other cells")]

use super::refusal;
use crate::cells::modelled as cells;

#[path = "table.rs"]
mod table;
