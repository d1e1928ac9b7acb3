//! soon
use super::*;
