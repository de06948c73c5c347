//! Bytes to Redis and back, through a Unix socket, TCP, or TLS over TCP; all of it, a handshake
//! too, under deadlines.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, ErrorKind, RedisError, RedisResult};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// For connecting, to all addresses of a name together, with the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An open stream.
#[derive(Debug)]
pub enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<ClientConnection>, TcpStream),
}

impl Stream {
    /// Connects; with `tls` where the address wants it.
    ///
    /// # Errors
    /// The system's, or of TLS.
    pub fn connect(address: &ConnectionAddr, tls: Option<Arc<ClientConfig>>) -> RedisResult<Self> {
        match (address, tls) {
            (ConnectionAddr::Unix(path), _) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                // A stopped Redis does not accept; once its queue is full, connect waits too.
                socket.set_write_timeout(Some(CONNECT_TIMEOUT))?;
                socket.connect(&SockAddr::unix(path)?).map_err(timed)?;
                Ok(Self::Unix(UnixStream::from(std::os::fd::OwnedFd::from(
                    socket,
                ))))
            }
            (ConnectionAddr::Tcp(host, port), _) => Ok(Self::Tcp(connect(host, *port)?.0)),
            (ConnectionAddr::TcpTls { host, port, .. }, Some(tls)) => {
                let name = ServerName::try_from(host.clone()).map_err(|_| {
                    let mend = "redis.url: a certificate is for a name or an address; give one";
                    RedisError::from((ErrorKind::InvalidClientConfig, mend))
                })?;
                let mut session = ClientConnection::new(tls, name)?;
                let (socket, deadline) = connect(host, *port)?;
                while session.is_handshaking() {
                    session.complete_io(&mut Timed(&socket, deadline))?;
                }
                Ok(Self::Tls(Box::new(session), socket))
            }
            _ => Err(RedisError::from((
                ErrorKind::InvalidClientConfig,
                "redis.url: give unix:///path/to/socket, rediss://host:port or redis://host:port",
            ))),
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The system's, of TLS, or that the deadline passed.
    pub fn write(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        match self {
            Self::Unix(socket) => Timed(&*socket, deadline).write_all(bytes),
            Self::Tcp(socket) => Timed(&*socket, deadline).write_all(bytes),
            Self::Tls(session, socket) => {
                let mut timed = Timed(&*socket, deadline);
                let mut stream = rustls::Stream::new(&mut **session, &mut timed);
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// Reads what is there, or waits for some; 0 at the end.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn read(&mut self, chunk: &mut [u8], deadline: Instant) -> io::Result<usize> {
        match self {
            Self::Unix(socket) => Timed(&*socket, deadline).read(chunk),
            Self::Tcp(socket) => Timed(&*socket, deadline).read(chunk),
            Self::Tls(session, socket) => {
                let mut timed = Timed(&*socket, deadline);
                // Not rustls::Stream: it first writes what a write left behind, and on a line too
                // slow for that the replies to what arrived would never be read.
                loop {
                    match session.reader().read(chunk) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        other => return other,
                    }
                    if session.read_tls(&mut timed)? == 0 {
                        return Ok(0);
                    }
                    session
                        .process_new_packets()
                        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                }
            }
        }
    }
}

/// A socket each of whose calls ends at the deadline.
struct Timed<'a, S>(&'a S, Instant);

impl<S: AsFd> Read for Timed<'_, S>
where
    for<'b> &'b S: Read,
{
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        loop {
            SockRef::from(self.0).set_read_timeout(Some(left(self.1)?))?;
            match (&mut &*self.0).read(chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(timed),
            }
        }
    }
}

impl<S: AsFd> Write for Timed<'_, S>
where
    for<'b> &'b S: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            SockRef::from(self.0).set_write_timeout(Some(left(self.1)?))?;
            match (&mut &*self.0).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(timed),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects; gives too when a handshake has to be over. The resolver has time-outs of its own,
/// longer than ours, and what it finds after them is good.
fn connect(host: &str, port: u16) -> io::Result<(TcpStream, Instant)> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let stream = connect_first(&addresses, deadline)?;
    stream.set_nodelay(true)?;
    Ok((stream, deadline))
}

/// The first of the addresses that answers. Each has its share of the time that is left, so
/// that silent ones hide no other.
fn connect_first(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let waiting = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, left(deadline)? / waiting) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = timed(error),
        }
    }
    Err(last)
}

/// Time until the deadline; none left is an error, as a timeout of zero means none at all. The
/// kernel counts microseconds: less than one would be zero.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < Duration::from_micros(1) {
        return Err(late());
    }
    Ok(left)
}

/// A socket's timeout is told as EAGAIN, which says nothing to people.
fn timed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(),
        _ => error,
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time")
}

#[cfg(test)]
mod tests;
