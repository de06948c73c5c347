//! Compiles the monitors, links them into one object and writes its skeleton.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libbpf_cargo::SkeletonBuilder;
use sha2::{Digest, Sha256};

/// In the order in which they are linked: what the monitors share, the monitors, and their
/// parts that are files of their own.
const SOURCES: [&str; 11] = [
    "record",
    "filter",
    "exec",
    "syscall_monitor",
    "file_monitor",
    "network_monitor",
    "message",
    "security_monitor",
    "acts",
    "signal",
    "io_uring",
];

fn main() -> Result<()> {
    let out =
        PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set; build with cargo")?);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bpf");
    println!("cargo:rerun-if-changed={}", folder.display());
    let arch = match env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => bail!(
            "the BPF programs have no register names for {other}; x86_64 and aarch64 are known"
        ),
    };

    let object = out.join("ravn.bpf.o");
    let mut linker = libbpf_rs::Linker::new(&object)?;
    for name in SOURCES {
        let part = out.join(format!("{name}.bpf.o"));
        SkeletonBuilder::new()
            .source(folder.join(format!("{name}.bpf.c")))
            .obj(&part)
            .clang_args([
                format!("-D__TARGET_ARCH_{arch}"),
                "-Wall".to_owned(),
                "-Werror".to_owned(),
                format!("-I{}", folder.display()),
            ])
            .build()
            .with_context(|| format!("cannot compile bpf/{name}.bpf.c; is clang installed?"))?;
        linker.add_file(&part)?;
    }
    linker.link().context("cannot link the BPF objects")?;

    SkeletonBuilder::new()
        .obj(&object)
        .generate(out.join("ravn.skel.rs"))
        .context("cannot write the skeleton")?;
    let abi = folder.join("abi.h");
    let digests = format!(
        "/// SHA-256 of the linked object and of the header that both sides share.\n\
         pub const DIGEST: [u8; 32] = {:?};\n\
         /// SHA-256 of that header alone.\n\
         pub const ABI: [u8; 32] = {:?};\n",
        digest(&[&object, &abi])?,
        digest(&[&abi])?,
    );
    std::fs::write(out.join("digests.rs"), digests).context("cannot write the digests")?;
    Ok(())
}

fn digest(files: &[&Path]) -> Result<[u8; 32]> {
    let mut all = Sha256::new();
    for path in files {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        all.update((bytes.len() as u64).to_le_bytes());
        all.update(bytes);
    }
    Ok(all.finalize().into())
}
