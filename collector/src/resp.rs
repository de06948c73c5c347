//! The collector's end of a connection to Redis: commands out, and back only what their
//! replies can be: a status, an integer, nil, an error, each on a line of at most 4 KiB.
//!
//! The redis crate's own connection keeps whatever a server sends, however long or deeply
//! nested; this process runs as root, and the server may be another machine's. Encoding
//! commands and telling errors apart is still the crate's.

mod stream;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ravn_shared::tls;
use redis::{ConnectionAddr, ErrorKind, Pipeline, RedisConnectionInfo, RedisError, RedisResult};
use rustls::ClientConfig;

use stream::Stream;

/// The longest line of a reply.
const MOST_REPLY: usize = 4096;
/// After a write that failed, for replies to what was written: they are here, or late.
const LAST_REPLIES: Duration = Duration::from_millis(100);

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

impl Reply {
    /// The error that it is.
    pub fn refusal(self) -> Option<RedisError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Done | Self::Number(_) => None,
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// What was received after the last line that was read.
    rest: Vec<u8>,
    /// Where batches are put together for writing: as large as the largest was.
    out: Vec<u8>,
    patience: Duration,
}

impl Connection {
    /// Connects, with `tls` where the address wants it. No [`Self::ask`] takes much longer than
    /// `patience`, however slowly the other side sends or reads.
    ///
    /// # Errors
    /// The system's, or of TLS.
    pub fn open(
        address: &ConnectionAddr,
        tls: Option<Arc<ClientConfig>>,
        patience: Duration,
    ) -> RedisResult<Self> {
        Ok(Self {
            stream: Stream::connect(address, tls)?,
            rest: Vec::new(),
            out: Vec::new(),
            patience,
        })
    }

    /// Makes the user known to Redis.
    ///
    /// # Errors
    /// The system's, or Redis's refusal of the user.
    pub fn log_in(&mut self, settings: &RedisConnectionInfo) -> RedisResult<()> {
        let mut hello = redis::pipe();
        if let Some(password) = settings.password() {
            hello.cmd("AUTH").arg(settings.username()).arg(password);
        }
        if settings.db() != 0 {
            hello.cmd("SELECT").arg(settings.db());
        }
        if hello.cmd_iter().next().is_some() {
            self.order(&hello)?;
        }
        Ok(())
    }

    /// Sends commands and reads a reply to each. Those read before a failure are given beside
    /// it: what they confirm was done. The failure is the system's, or of a reply that is none
    /// of those expected; the connection cannot be used any more then.
    pub fn ask(&mut self, commands: &Pipeline) -> (Vec<Reply>, RedisResult<()>) {
        let mut replies = Vec::new();
        let count = commands.cmd_iter().count();
        let asked = self.exchange(&commands.get_packed_pipeline(), count, &mut replies);
        (replies, asked)
    }

    /// As [`Self::ask`] an LPUSH of each element. The crate would copy each twice, into buffers
    /// so large that the kernel gives and takes their pages every time.
    pub fn push<'e>(
        &mut self,
        key: &str,
        elements: impl Iterator<Item = &'e [u8]>,
    ) -> (Vec<Reply>, RedisResult<()>) {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let mut count = 0;
        for element in elements {
            let head = format!(
                "*3\r\n$5\r\nLPUSH\r\n${}\r\n{key}\r\n${}\r\n",
                key.len(),
                element.len()
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(element);
            out.extend_from_slice(b"\r\n");
            count += 1;
        }
        let mut replies = Vec::new();
        let asked = self.exchange(&out, count, &mut replies);
        self.out = out;
        (replies, asked)
    }

    fn exchange(
        &mut self,
        bytes: &[u8],
        commands: usize,
        replies: &mut Vec<Reply>,
    ) -> RedisResult<()> {
        let deadline = Instant::now() + self.patience;
        let written = self.stream.write(bytes, deadline);
        let deadline = match written {
            Ok(()) => deadline,
            Err(_) => Instant::now() + LAST_REPLIES,
        };
        for _ in 0..commands {
            match self.reply(deadline) {
                Ok(reply) => replies.push(reply),
                // A write that failed is the cause of a reply that does not come, unless the
                // other side says why it ends TLS.
                Err(error) if tls::failed(&error) => return Err(error),
                Err(error) => return Err(written.err().map_or(error, RedisError::from)),
            }
        }
        Ok(written?)
    }

    /// The same for commands none of which may be refused.
    ///
    /// # Errors
    /// A failure of [`Self::ask`], or the first refusal.
    pub fn order(&mut self, commands: &Pipeline) -> RedisResult<Vec<Reply>> {
        let (replies, asked) = self.ask(commands);
        asked?;
        let refusal = replies.iter().cloned().find_map(Reply::refusal);
        refusal.map_or(Ok(replies), Err)
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
        match self.stream.read(&mut chunk, deadline)? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it closed the connection",
            )),
            length => {
                self.rest.extend_from_slice(&chunk[..length]);
                Ok(())
            }
        }
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
mod tests;
