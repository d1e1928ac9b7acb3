//! Compiles `proto/` to Rust without protoc and without a network: protox
//! parses and links, tonic-prost-build generates.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

/// What is served, and so described to clients.
const SERVED: [&str; 3] = [
    "envoy/service/ratelimit/v3/rls.proto",
    "grpc/health/v1/health.proto",
    "tidegate/health/v1/health.proto",
];

/// What is asked of others.
const ASKED: [&str; 2] =
    ["envoy/service/discovery/v3/ads.proto", "ratelimit/config/ratelimit/v3/rls_conf.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true) // reflection and /json need the whole closure
        .include_source_info(false) // comments of .proto files are not rustdoc
        .open_files(SERVED)?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    compiler.open_files(ASKED)?;
    tonic_prost_build::configure()
        .include_file("protos.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
