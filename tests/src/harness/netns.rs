//! A network namespace of one test: another host, as far as the network goes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};

/// Where iproute2 keeps the names.
const FOLDER: &str = "/run/netns";

/// A namespace, joined to this one by a pair of interfaces; dropped, both are gone.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    /// The address of this side.
    pub outside: String,
}

impl NetNs {
    /// Makes one. `number` (below 64) tells apart those of one test: their networks are pieces
    /// of four addresses of 10.231.x.0/24, where x is of this process.
    ///
    /// # Errors
    /// When iproute2 is missing or refuses.
    pub fn new(number: u8) -> Result<Self> {
        let pid = std::process::id();
        let name = format!("ravn-{pid}-{number}");
        let (near, far) = (format!("rv{pid}n{number}"), format!("rv{pid}f{number}"));
        let address = |last: u8| format!("10.231.{}.{}", pid % 256, number * 4 + last);
        ip(&["netns", "add", &name])?;
        let made = Self {
            name: name.clone(),
            outside: address(1),
        };
        ip(&[
            "link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &name,
        ])?;
        let (here, there) = (format!("{}/30", address(1)), format!("{}/30", address(2)));
        ip(&["addr", "add", &here, "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", &name, "addr", "add", &there, "dev", &far])?;
        ip(&["-n", &name, "link", "set", &far, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// Does something inside: what it starts stays there. (A thread of its own enters, for a
    /// namespace of the network belongs to a thread.)
    ///
    /// # Errors
    /// When it cannot be entered, or what `act` gives.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let place = format!("{FOLDER}/{}", self.name);
        let entrance = File::open(&place).with_context(|| format!("open {place}"))?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // SAFETY: setns takes a descriptor that is open, and no pointers.
                match unsafe { libc::setns(entrance.as_raw_fd(), libc::CLONE_NEWNET) } {
                    0 => act(),
                    _ => Err(std::io::Error::last_os_error()).context("enter a namespace"),
                }
            });
            match inside.join() {
                Ok(done) => done,
                Err(_) => bail!("what was done in {place} panicked"),
            }
        })
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        // The pair of interfaces goes with it.
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            eprintln!("{}: {error:#}", self.name);
        }
    }
}

/// Why there can be none here.
pub fn missing() -> Option<String> {
    let name = format!("ravn-{}-try", std::process::id());
    let tried = ip(&["netns", "add", &name]).and_then(|()| ip(&["netns", "del", &name]));
    tried
        .err()
        .map(|error| format!("no network namespaces: {error:#}"))
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .context("run ip; is iproute2 installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        said.trim()
    );
    Ok(())
}
