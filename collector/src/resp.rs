//! The collector's end of a connection to Redis: commands out, and back only what their
//! replies can be: a status, an integer, nil, an error, each on a line of at most 4 KiB.
//!
//! The redis crate's own connection keeps whatever a server sends, however long or deeply
//! nested; this process runs as root, and the server may be another machine's. Encoding
//! commands and telling errors apart is still the crate's.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult};
use socket2::{Domain, SockAddr, Socket, Type};

/// The longest line of a reply.
const MOST_REPLY: usize = 4096;

/// One reply.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status (`OK`, `PONG`) or nil.
    Done,
    /// An integer.
    Number(usize),
    /// An error.
    Refused(RedisError),
}

/// An open connection, its user known to Redis.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// What was received after the last line that was read.
    rest: Vec<u8>,
    patience: Duration,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Connection {
    /// Connects and authenticates. No [`Self::ask`] takes longer than `patience`, however
    /// slowly the other side sends or reads.
    ///
    /// # Errors
    /// The system's, or Redis's refusal of the user.
    pub fn open(info: &ConnectionInfo, patience: Duration) -> RedisResult<Self> {
        let mut connection = Self {
            stream: connect(info.addr(), patience)?,
            rest: Vec::new(),
            patience,
        };
        let settings = info.redis_settings();
        let mut hello = redis::pipe();
        if let Some(password) = settings.password() {
            hello.cmd("AUTH").arg(settings.username()).arg(password);
        }
        if settings.db() != 0 {
            hello.cmd("SELECT").arg(settings.db());
        }
        if hello.cmd_iter().next().is_some() {
            connection.order(&hello)?;
        }
        Ok(connection)
    }

    /// Sends commands and reads a reply to each.
    ///
    /// # Errors
    /// The system's, or of a reply that is none of those expected. The connection cannot be
    /// used any more then.
    pub fn ask(&mut self, commands: &Pipeline) -> RedisResult<Vec<Reply>> {
        let deadline = Instant::now() + self.patience;
        self.write(&commands.get_packed_pipeline(), deadline)?;
        commands.cmd_iter().map(|_| self.reply(deadline)).collect()
    }

    /// The same for commands none of which may be refused.
    ///
    /// # Errors
    /// As [`Self::ask`], and the first refusal.
    pub fn order(&mut self, commands: &Pipeline) -> RedisResult<Vec<Reply>> {
        let replies = self.ask(commands)?;
        let refusal = replies.iter().find_map(|reply| match reply {
            Reply::Refused(error) => Some(error.clone()),
            _ => None,
        });
        refusal.map_or(Ok(replies), Err)
    }

    fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = Some(left(deadline)?);
            let written = match &mut self.stream {
                Stream::Unix(stream) => {
                    stream.set_write_timeout(left)?;
                    stream.write(bytes)
                }
                Stream::Tcp(stream) => {
                    stream.set_write_timeout(left)?;
                    stream.write(bytes)
                }
            };
            match written {
                Ok(length) => bytes = &bytes[length..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(timed(error)),
            }
        }
        Ok(())
    }

    fn reply(&mut self, deadline: Instant) -> RedisResult<Reply> {
        let line = self.line(deadline)?;
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        match text.split_at_checked(1) {
            Some(("+", _)) => Ok(Reply::Done),
            Some(("$" | "*", "-1")) => Ok(Reply::Done),
            Some((":", number)) => number
                .parse()
                .map(Reply::Number)
                .map_err(|_| unexpected(text)),
            Some(("-", _)) => {
                let error = redis::parse_redis_value(&line)?.extract_error();
                Ok(error.map_or_else(Reply::Refused, |_| Reply::Done))
            }
            _ => Err(unexpected(text)),
        }
    }

    /// The next line with its end.
    fn line(&mut self, deadline: Instant) -> RedisResult<Vec<u8>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return Ok(self.rest.drain(..=end).collect());
            }
            // Whatever it is, it need not be read to its end.
            if self.rest.len() >= MOST_REPLY {
                return Err(unexpected(&String::from_utf8_lossy(&self.rest)));
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<()> {
        let mut chunk = [0; MOST_REPLY];
        let left = Some(left(deadline)?);
        let read = match &mut self.stream {
            Stream::Unix(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(&mut chunk)
            }
            Stream::Tcp(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(&mut chunk)
            }
        };
        match read {
            Ok(0) => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it closed the connection",
            )),
            Ok(length) => {
                self.rest.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(timed(error)),
        }
    }
}

fn connect(address: &ConnectionAddr, patience: Duration) -> RedisResult<Stream> {
    match address {
        ConnectionAddr::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // A stopped Redis does not accept; once its queue is full, connect waits too.
            socket.set_write_timeout(Some(patience))?;
            socket.connect(&SockAddr::unix(path)?).map_err(timed)?;
            Ok(Stream::Unix(UnixStream::from(std::os::fd::OwnedFd::from(
                socket,
            ))))
        }
        ConnectionAddr::Tcp(host, port) => {
            let mut last = None;
            for address in (host.as_str(), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, patience) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        return Ok(Stream::Tcp(stream));
                    }
                    Err(error) => last = Some(error),
                }
            }
            let none = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
            Err(last.unwrap_or_else(none).into())
        }
        _ => Err(RedisError::from((
            ErrorKind::InvalidClientConfig,
            "this build speaks no TLS; give unix:///path/to/socket or redis://host:port",
        ))),
    }
}

/// Time until the deadline; none left is an error, as a timeout of zero means none at all.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "it did not answer in time",
        ));
    }
    Ok(left)
}

/// A socket's timeout is told as EAGAIN, which says nothing to people.
fn timed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time")
        }
        _ => error,
    }
}

fn unexpected(text: &str) -> RedisError {
    let shown: String = text.chars().take(32).collect();
    RedisError::from((
        ErrorKind::UnexpectedReturnType,
        "a reply that none of the collector's commands has; is this Redis?",
        ravn_shared::text::escape(shown.as_bytes()),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixListener;
    use std::thread;

    use redis::IntoConnectionInfo;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    /// What a PING is answered with by a server that says `bytes`, as fast as `every` of them
    /// comes.
    fn pinged(name: &str, bytes: &'static [u8], every: Duration) -> RedisResult<Vec<Reply>> {
        let path = std::env::temp_dir().join(format!("ravn-resp-{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for byte in bytes.iter().cycle() {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(every);
            }
        });
        let info = format!("unix://{}", path.display())
            .into_connection_info()
            .unwrap();
        let mut connection = Connection::open(&info, PATIENCE).unwrap();
        std::fs::remove_file(path).unwrap();
        let mut commands = redis::pipe();
        commands.cmd("PING").cmd("LLEN").arg("events:raw");
        connection.ask(&commands)
    }

    #[test]
    fn replies_are_told_apart() {
        let replies = pinged("good", b"+PONG\r\n-OOM no room\r\n", Duration::ZERO).unwrap();
        assert!(matches!(replies[0], Reply::Done));
        let Reply::Refused(error) = &replies[1] else {
            panic!("{replies:?}");
        };
        assert_eq!(error.code(), Some("OOM"));
        let replies = pinged("more", b":17\r\n$-1\r\n", Duration::ZERO).unwrap();
        assert!(matches!(replies[..], [Reply::Number(17), Reply::Done]));
    }

    #[test]
    fn what_no_command_is_answered_with_ends_the_connection() {
        for (name, bytes) in [
            ("bulk", &b"$1073741824\r\n"[..]),
            ("array", b"*1000000000\r\n"),
            ("nest", b"*1\r\n"),
            ("line", b"+never ends"),
            ("minus", b":-1\r\n"),
            ("junk", b"\xff\xfe\r\n"),
            ("empty", b"\r\n"),
        ] {
            let error = pinged(name, bytes, Duration::ZERO).unwrap_err();
            assert!(
                error.to_string().contains("is this Redis?"),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn a_reply_in_drops_is_not_waited_for_without_end() {
        let began = Instant::now();
        let error = pinged("slow", b"+", PATIENCE / 5).unwrap_err();
        assert!(error.to_string().contains("in time"), "{error}");
        assert!(began.elapsed() < PATIENCE * 4);
    }
}
