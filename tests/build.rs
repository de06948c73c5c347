//! Compiles the benches' floor program and writes its skeleton.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libbpf_cargo::SkeletonBuilder;

fn main() -> Result<()> {
    let out =
        PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set; build with cargo")?);
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    // For the kernel's types, which the sensor keeps by hand.
    let sensor = own.join("../bpf");
    println!("cargo:rerun-if-changed={}", own.join("bpf").display());
    println!(
        "cargo:rerun-if-changed={}",
        sensor.join("kernel.h").display()
    );
    let arch = match env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => bail!(
            "the BPF programs have no register names for {other}; x86_64 and aarch64 are known"
        ),
    };
    SkeletonBuilder::new()
        .source(own.join("bpf/floor.bpf.c"))
        .clang_args([
            format!("-D__TARGET_ARCH_{arch}"),
            "-Wall".to_owned(),
            "-Werror".to_owned(),
            format!("-I{}", sensor.display()),
        ])
        .build_and_generate(out.join("floor.skel.rs"))
        .context("cannot compile tests/bpf/floor.bpf.c; is clang installed?")
}
