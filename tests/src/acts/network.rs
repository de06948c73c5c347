//! Acts on sockets, all on the loopback.

use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Done, ok};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Fields of a socket's record.
fn socket(local: SocketAddr, remote: Option<SocketAddr>, udp: bool) -> Value {
    let mut fields = json!({
        "family": if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 },
        "type": if udp { libc::SOCK_DGRAM } else { libc::SOCK_STREAM },
        "protocol": if udp { libc::IPPROTO_UDP } else { libc::IPPROTO_TCP },
        "local": local.ip().to_string(), "local_port": local.port(),
    });
    if let Some(remote) = remote {
        fields["remote"] = json!(remote.ip().to_string());
        fields["remote_port"] = json!(remote.port());
        fields["as_given"] = json!(false);
    }
    fields
}

/// Connects to `port` on the loopback, where somebody listens.
///
/// # Errors
/// When nobody does.
pub fn connect(port: &str, v6: bool) -> Result<Done> {
    let host = if v6 { LOOPBACK6 } else { LOOPBACK };
    let stream = TcpStream::connect((host, port.parse::<u16>()?))?;
    let mut fields = socket(stream.local_addr()?, Some(stream.peer_addr()?), false);
    fields["ret"] = json!(0);
    Ok(Done::new("connect", fields))
}

/// Connects to a loopback port where nobody listens.
///
/// # Errors
/// When somebody does.
pub fn connect_refused() -> Result<Done> {
    // A socket of the same protocol that is bound and does not listen keeps the port closed.
    let held = bound_tcp()?;
    let port = held.1;
    let error = TcpStream::connect((LOOPBACK, port))
        .err()
        .context("somebody listens")?;
    Ok(Done::new(
        "connect",
        json!({
            "family": libc::AF_INET, "type": libc::SOCK_STREAM,
            "remote": "127.0.0.1", "remote_port": port, "as_given": true,
            "ret": -error.raw_os_error().unwrap_or_default(),
        }),
    ))
}

/// Connects a UDP socket.
///
/// # Errors
/// When a call fails.
pub fn connect_udp() -> Result<Done> {
    let udp = UdpSocket::bind((LOOPBACK, 0))?;
    let to = (LOOPBACK, 9)
        .to_socket_addrs()?
        .next()
        .context("no address")?;
    udp.connect(to)?;
    let mut fields = socket(udp.local_addr()?, Some(to), true);
    fields["ret"] = json!(0);
    Ok(Done::new("connect", fields))
}

/// Accepts one connection that a thread of its own makes.
///
/// # Errors
/// When a call fails.
pub fn accept() -> Result<Done> {
    let listener = TcpListener::bind((LOOPBACK, 0))?;
    let here = listener.local_addr()?;
    let client = std::thread::spawn(move || TcpStream::connect(here));
    let (stream, peer) = listener.accept()?;
    let _client = client.join().ok().context("the client panicked")??;
    let mut fields = socket(stream.local_addr()?, Some(peer), false);
    fields["ret"] = json!(stream.as_raw_fd());
    Ok(Done::new("accept", fields))
}

/// Binds a UDP socket to a port of the kernel's choice.
///
/// # Errors
/// When a call fails.
pub fn bind() -> Result<Done> {
    let udp = UdpSocket::bind((LOOPBACK, 0))?;
    let mut fields = socket(udp.local_addr()?, None, true);
    fields["ret"] = json!(0);
    Ok(Done::new("bind", fields))
}

/// Binds a TCP socket and listens.
///
/// # Errors
/// When a call fails.
pub fn listen() -> Result<Done> {
    let listener = TcpListener::bind((LOOPBACK, 0))?;
    let mut fields = socket(listener.local_addr()?, None, false);
    fields["ret"] = json!(0);
    Ok(Done::new("listen", fields))
}

/// Makes a connected socket standard input.
///
/// # Errors
/// When a call fails.
pub fn dup_socket() -> Result<Done> {
    let listener = TcpListener::bind((LOOPBACK, 0))?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    // SAFETY: both descriptors are open; standard input is not used any more.
    ok("dup2", unsafe { libc::dup2(stream.as_raw_fd(), 0) })?;
    let mut fields = socket(stream.local_addr()?, Some(stream.peer_addr()?), false);
    fields["old_fd"] = json!(stream.as_raw_fd());
    fields["new_fd"] = json!(0);
    Ok(Done::new("dup_socket", fields))
}

/// A shell whose descriptors 0 to 2 are a connected socket; it runs `true` and ends.
///
/// # Errors
/// When a call fails.
pub fn reverse_shell() -> Result<Done> {
    let listener = TcpListener::bind((LOOPBACK, 0))?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (_far, _) = listener.accept()?;
    let end =
        || -> Result<Stdio> { Ok(Stdio::from(std::os::fd::OwnedFd::from(stream.try_clone()?))) };
    let mut shell = Command::new("/bin/sh")
        .args(["-c", "true; true"])
        .stdin(end()?)
        .stdout(end()?)
        .stderr(end()?)
        .spawn()?;
    let pid = shell.id();
    shell.wait()?;
    let peer = stream.peer_addr()?;
    Ok(Done {
        kind: "exec",
        fields: json!({
            "path": std::fs::canonicalize("/bin/sh")?.to_string_lossy(),
            "argv": "/bin/sh -c \"true; true\"", "stdio": [5, 5, 5],
            "stdio_peer": peer.ip().to_string(), "stdio_peer_port": peer.port(),
        }),
        by: Some((pid, pid)),
    })
}

/// Connects an IPv6 socket to `port` of the loopback's IPv4 address.
///
/// # Errors
/// When nobody listens.
pub fn connect_mapped(port: &str) -> Result<Done> {
    let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let stream = TcpStream::connect((mapped, port.parse::<u16>()?))?;
    let mut fields = socket(stream.local_addr()?, Some(stream.peer_addr()?), false);
    fields["ret"] = json!(0);
    fields["remote"] = json!("::ffff:127.0.0.1");
    Ok(Done::new("connect", fields))
}

/// Says ten bytes to `port` on the loopback, hears what comes, and lets the connection end.
///
/// # Errors
/// When nobody listens.
pub fn close(port: &str) -> Result<Done> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect((LOOPBACK, port.parse::<u16>()?))?;
    let mut fields = socket(stream.local_addr()?, Some(stream.peer_addr()?), false);
    stream.write_all(b"0123456789")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    fields["sent"] = json!(10);
    fields["received"] = json!(heard.len());
    Ok(Done::new("close", fields))
}

/// Sends three datagrams to one address: a flow, which is told once.
///
/// # Errors
/// When a call fails.
pub fn send() -> Result<Done> {
    let udp = UdpSocket::bind((LOOPBACK, 0))?;
    let far = UdpSocket::bind((LOOPBACK, 0))?;
    let to = far.local_addr()?;
    for text in [&b"one"[..], b"two!", b"three"] {
        udp.send_to(text, to)?;
    }
    let mut fields = socket(udp.local_addr()?, Some(to), true);
    fields["as_given"] = json!(true);
    fields["ret"] = json!(3);
    Ok(Done::new("send", fields))
}

/// A question for `name`, type TXT, as RFC 1035 has it.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or_default());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 16, 0, 1]);
    message
}

const NAME: &str = "a-label.with-dots.example";

/// Asks a name server on the loopback, which need not be there, in one of several ways:
/// `sendto`, `send`, `write`, `sendmsg`, `sendmmsg`.
///
/// # Errors
/// When a call fails.
pub fn dns(way: &str) -> Result<Done> {
    let udp = UdpSocket::bind((LOOPBACK, 0))?;
    let to = SocketAddr::new(LOOPBACK, 53);
    let mut text = question(NAME);
    let fd = udp.as_raw_fd();
    let mut part = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    if way != "sendto" {
        udp.connect(to)?;
    }
    // SAFETY: the message and its part live through the call; a zero msghdr is one without a
    // name.
    let sent = unsafe {
        let mut message: libc::mmsghdr = std::mem::zeroed();
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
        match way {
            "sendto" => udp.send_to(&text, to)?,
            "send" => udp.send(&text)?,
            "write" => libc::write(fd, text.as_ptr().cast(), text.len()) as usize,
            "sendmsg" => libc::sendmsg(fd, &raw const message.msg_hdr, 0) as usize,
            "sendmmsg" => libc::sendmmsg(fd, &raw mut message, 1, 0) as usize,
            _ => anyhow::bail!("no way {way} to ask"),
        }
    };
    let expected = if way == "sendmmsg" { 1 } else { text.len() };
    anyhow::ensure!(sent == expected, "sent {sent} of {expected}");
    let mut fields = socket(udp.local_addr()?, Some(to), true);
    fields["as_given"] = json!(way == "sendto");
    fields["ret"] = json!(sent);
    fields["name"] = json!(NAME);
    fields["record"] = json!("TXT");
    fields["cut"] = json!(false);
    Ok(Done::new("dns", fields))
}

/// Makes a packet socket for all protocols; needs root.
///
/// # Errors
/// When the call fails.
pub fn packet_socket() -> Result<Done> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the call takes no pointers.
    let fd = ok("socket", unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol.into(),
        )
    })?;
    Ok(Done::new(
        "raw_socket",
        json!({
            "family": libc::AF_PACKET, "type": libc::SOCK_RAW, "protocol": libc::ETH_P_ALL,
            "ret": fd,
        }),
    ))
}

/// Makes a raw inet socket, and a netlink socket, which is raw too and of no interest.
///
/// # Errors
/// When a call fails.
pub fn raw_socket() -> Result<Done> {
    // SAFETY: the calls take no pointers.
    let fd = unsafe {
        ok("socket", libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0))?;
        ok(
            "socket",
            libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        )?
    };
    Ok(Done::new(
        "raw_socket",
        json!({
            "family": libc::AF_INET, "type": libc::SOCK_RAW, "protocol": libc::IPPROTO_ICMP,
            "ret": fd,
        }),
    ))
}

/// A bound TCP socket that does not listen, and its port.
fn bound_tcp() -> Result<(std::os::fd::OwnedFd, u16)> {
    use std::os::fd::FromRawFd;
    // SAFETY: plain system calls; the descriptor is owned at once.
    let fd = unsafe {
        let fd = ok(
            "socket",
            libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0),
        )?;
        std::os::fd::OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: sockaddr_in is plain data, for which zero is a value.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_addr.s_addr = u32::from(Ipv4Addr::LOCALHOST).to_be();
    let mut length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let pointer = (&raw mut address).cast::<libc::sockaddr>();
    // SAFETY: `pointer` and `length` describe `address`, which lives through both calls.
    unsafe {
        ok("bind", libc::bind(fd.as_raw_fd(), pointer, length))?;
        ok(
            "getsockname",
            libc::getsockname(fd.as_raw_fd(), pointer, &raw mut length),
        )?;
    }
    Ok((fd, u16::from_be(address.sin_port)))
}
