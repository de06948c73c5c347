//! Sockets.

use serde::{Deserialize, Serialize};

/// A socket and both its ends, from the kernel's own socket after the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket<'a> {
    /// AF_INET 2, AF_INET6 10, AF_UNIX 1, others.
    pub family: u16,
    /// SOCK_STREAM 1, SOCK_DGRAM 2…
    pub kind: u16,
    /// IPPROTO_TCP 6, IPPROTO_UDP 17…
    pub protocol: u16,
    /// Local address: 4 or 16 bytes, or the path of a Unix socket.
    #[serde(with = "serde_bytes", borrow)]
    pub local: &'a [u8],
    /// Local port, host order.
    pub local_port: u16,
    /// Remote address, as `local`.
    #[serde(with = "serde_bytes", borrow)]
    pub remote: &'a [u8],
    /// Remote port, host order.
    pub remote_port: u16,
    /// Result of the call: a descriptor, 0, bytes sent, or a negative errno.
    pub ret: i32,
    /// The remote end is the caller's, because the kernel kept none: a refused connection, a
    /// datagram.
    pub as_given: bool,
}

/// A socket became descriptor 0, 1 or 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DupSocket<'a> {
    /// The descriptor that was copied.
    pub old_fd: i32,
    /// The standard descriptor that it became.
    pub new_fd: i32,
    /// The socket.
    #[serde(borrow)]
    pub socket: Socket<'a>,
}

/// A TCP connection ended. Its record is of the process that connected or accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close<'a> {
    /// The socket.
    #[serde(borrow)]
    pub socket: Socket<'a>,
    /// Bytes that were sent, each once.
    pub sent: u64,
    /// Bytes that arrived in order.
    pub received: u64,
    /// Since it was connected or accepted, nanoseconds.
    pub duration_ns: u64,
}

/// A name server was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns<'a> {
    /// The name, without the last dot; empty for the root. Any bytes but dots may be in its
    /// labels.
    #[serde(with = "serde_bytes", borrow)]
    pub name: &'a [u8],
    /// A 1, AAAA 28, TXT 16…; see [`crate::show::record_type`].
    pub record_type: u16,
    /// The message was no whole question: the name is missing.
    pub cut: bool,
    /// The socket and the server.
    #[serde(borrow)]
    pub socket: Socket<'a>,
}

/// A packet socket or a raw inet socket was made, or asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawSocket {
    /// AF_PACKET 17, AF_INET 2, AF_INET6 10.
    pub family: u16,
    /// SOCK_RAW 3, SOCK_DGRAM 2…
    pub kind: u16,
    /// ETH_P_* of a packet socket, else IPPROTO_*.
    pub protocol: u16,
    /// Descriptor, or a negative errno.
    pub ret: i32,
}
