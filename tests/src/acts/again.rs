//! What is told once, done while a ring is full and again when it is not: the second act is the
//! one that must be told. Between the two stands a FIFO that somebody opens.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Result, bail};
use serde_json::json;

use super::{Done, door, ok, ways};

/// Acts that fill a ring of 64 KiB, and pass a budget of less than them.
const FILLING: usize = 1000;

/// Waits until somebody has opened the FIFO `path` for writing and closed it again.
///
/// # Errors
/// When it cannot be read.
pub fn wait(path: &str) -> Result<()> {
    std::fs::read(path)?;
    Ok(())
}

/// `send`, `map-wx` or `compat`, twice.
///
/// # Errors
/// When an act fails.
pub fn again(way: &str, fifo: &str) -> Result<Done> {
    match way {
        "send" => send(fifo),
        "map-wx" => {
            fill_security()?;
            door::map_wx()?;
            wait(fifo)?;
            door::map_wx()
        }
        "compat" => {
            const GETPID: u32 = 20;
            fill_security()?;
            ways::compat()?;
            wait(fifo)?;
            ways::call32(GETPID, [0; 3])?;
            Ok(Done::new("compat", json!({"syscall": GETPID})))
        }
        _ => bail!("nothing of the name {way} is told once"),
    }
}

/// Calls that change nothing, and are told all the same.
fn fill_security() -> Result<()> {
    for _ in 0..FILLING {
        // SAFETY: -1 keeps what is.
        ok("setresuid", unsafe {
            libc::setresuid(u32::MAX, u32::MAX, u32::MAX)
        })?;
    }
    Ok(())
}

fn send(fifo: &str) -> Result<Done> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for _ in 0..FILLING {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    }
    udp.send_to(b"x", far.local_addr()?)?;
    wait(fifo)?;
    udp.send_to(b"yy", far.local_addr()?)?;
    udp.send_to(b"zzz", far.local_addr()?)?;
    Ok(Done::new(
        "send",
        json!({"remote_port": far.local_addr()?.port(), "ret": 2}),
    ))
}
