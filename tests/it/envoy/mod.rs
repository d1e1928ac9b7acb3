//! A real Envoy limits real requests through Tidegate and a real Redis.

mod age;
mod algorithms;
mod example;
mod limits;
mod reload;
mod rolling;
mod tls;
mod together;
