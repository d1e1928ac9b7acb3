//! The program as a process: how it starts and stops, and what it withstands.

mod bad_rules;
mod command_line;
mod hostile;
mod http;
mod lifecycle;
mod load;
mod protocol;
mod redis_faults;

/// Two requests a year for each user.
const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
";
