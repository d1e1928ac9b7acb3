//! Compiles `proto/` to Rust without protoc and without a network: protox
//! parses and links, tonic-prost-build generates.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const ROOTS: [&str; 3] = [
    "envoy/service/ratelimit/v3/rls.proto",
    "grpc/health/v1/health.proto",
    "tidegate/health/v1/health.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true) // reflection and /json need the whole closure
        .include_source_info(false) // comments of .proto files are not rustdoc
        .open_files(ROOTS)?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .include_file("protos.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
