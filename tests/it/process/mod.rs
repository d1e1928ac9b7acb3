//! The program as a process: how it starts and stops, and what it withstands.

mod bad_rules;
mod command_line;
mod companions;
mod faults;
mod hostile;
mod http;
mod leases;
mod lifecycle;
mod memcached;
mod listeners;
mod load;
mod protocol;
mod redis_faults;
mod security;
mod status;
mod xds;

/// Two requests a year for each user.
const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
";
