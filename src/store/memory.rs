//! Counters in this process.
