//! Compiles `proto/` to Rust without protoc and without a network: protox
//! parses and links, tonic-prost-build generates.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
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

/// What is written for others: the protobuf form of the metrics page.
const WRITTEN: [&str; 1] = ["io/prometheus/client/metrics.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true) // reflection and /json need the whole closure
        .include_source_info(false) // comments of .proto files are not rustdoc
        .open_files(SERVED)?;

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    compiler.open_files(ASKED)?.open_files(WRITTEN)?;
    tonic_prost_build::configure()
        .include_file("protos.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    tell_what_builds();
    Ok(())
}

/// For `tidegate_build_info`: the compiler, and the revision if whoever builds names it.
fn tell_what_builds() {
    println!("cargo:rerun-if-env-changed=SOURCE_REVISION");
    let revision = env::var("SOURCE_REVISION").unwrap_or_default();
    println!("cargo:rustc-env=BUILD_REVISION={}", revision.trim());
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = said.unwrap_or_default();
    let version = version.split_whitespace().nth(1).unwrap_or_default();
    println!("cargo:rustc-env=BUILD_RUSTC={version}");
}
