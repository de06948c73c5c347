//! `ravn watch`: the state, live.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use redis::Connection;

use super::access::Access;
use super::alerts::{self, Entry};
use super::paint::{self, Paint, grouped};
use super::state::State;
use super::status;

/// What `ravn watch` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stop after this many seconds; 0: at Ctrl-C
    #[arg(long, default_value_t = 0, value_name = "N")]
    seconds: u64,
}

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// A plain line at least this often, so that a log shows that somebody looked.
const PLAIN: Duration = Duration::from_secs(10);

/// Shows the state until Ctrl-C, or for the time that was asked for.
///
/// # Errors
/// When the terminal cannot be written to. Redis' absence is shown, and waited out.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut view: Box<dyn View> = if std::io::stdout().is_terminal() {
        Box::new(Screen::open()?)
    } else {
        Box::new(Lines::default())
    };
    let end = (args.seconds > 0).then(|| Instant::now() + Duration::from_secs(args.seconds));
    let mut connection = None;
    let mut rates = Rates::default();
    while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
        match look(access, &mut connection) {
            Ok((state, alerts)) => {
                let rate = rates.of(&state);
                view.show(&state, &alerts, rate)?;
            }
            Err(error) => {
                connection = None;
                view.trouble(&format!("{error:#}"))?;
            }
        }
        pause(&stop);
    }
    Ok(ExitCode::SUCCESS)
}

fn look(access: &Access, connection: &mut Option<Connection>) -> Result<(State, Vec<Entry>)> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(access.reader()?),
    };
    let keys = access.keys();
    Ok((State::read(open, &keys)?, alerts::last(open, &keys, 8)?))
}

/// Waits a second, and not longer than the signal.
fn pause(stop: &AtomicBool) {
    let end = Instant::now() + EVERY;
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Events and syscalls a second, between two looks.
#[derive(Debug, Default)]
struct Rates {
    last: Option<(Instant, u64, u64)>,
    /// The collector writes its counts every few seconds; between them the last rate stands.
    shown: (f64, f64),
}

impl Rates {
    fn of(&mut self, state: &State) -> (f64, f64) {
        let now = Instant::now();
        let (events, syscalls) = (state.collected("events"), state.collected("syscalls"));
        match self.last {
            Some((_, was_events, was_syscalls))
                if (was_events, was_syscalls) == (events, syscalls) => {}
            Some((then, was_events, was_syscalls)) => {
                let seconds = now.duration_since(then).as_secs_f64().max(0.001);
                self.shown = (
                    events.saturating_sub(was_events) as f64 / seconds,
                    syscalls.saturating_sub(was_syscalls) as f64 / seconds,
                );
                self.last = Some((now, events, syscalls));
            }
            None => self.last = Some((now, events, syscalls)),
        }
        self.shown
    }
}

trait View {
    fn show(&mut self, state: &State, alerts: &[Entry], rate: (f64, f64)) -> Result<()>;
    fn trouble(&mut self, words: &str) -> Result<()>;
}

/// The whole terminal, given back on drop.
struct Screen {
    paint: Paint,
}

impl Screen {
    fn open() -> Result<Self> {
        // The alternate screen, without a cursor.
        write!(std::io::stdout(), "\x1b[?1049h\x1b[?25l")?;
        Ok(Self {
            paint: Paint::new(),
        })
    }

    fn draw(&self, lines: &[String], rows: usize) -> Result<()> {
        let mut out = String::from("\x1b[H");
        for line in lines.iter().take(rows.saturating_sub(1)) {
            out.push_str(line);
            // To the end of the line, in case the last picture was longer.
            out.push_str("\x1b[K\r\n");
        }
        out.push_str("\x1b[J");
        let mut terminal = std::io::stdout();
        terminal.write_all(out.as_bytes())?;
        terminal.flush()?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write!(std::io::stdout(), "\x1b[?25h\x1b[?1049l");
        let _ = std::io::stdout().flush();
    }
}

impl View for Screen {
    fn show(&mut self, state: &State, alerts: &[Entry], rate: (f64, f64)) -> Result<()> {
        let (width, rows) = paint::size();
        let now = paint::time_of_day(ravn_shared::clock::realtime_ms());
        let mut lines = vec![format!(
            "{}  {}",
            self.paint.bold("RAVN"),
            self.paint.dim(&format!(
                "{now}   {} events/s, {} syscalls/s   Ctrl-C ends",
                grouped(rate.0 as u64),
                grouped(rate.1 as u64)
            ))
        )];
        lines.extend(status::lines(
            state,
            self.paint,
            width,
            rows.saturating_sub(20).max(3),
        ));
        if !alerts.is_empty() {
            lines.push(String::new());
            lines.push(self.paint.bold("last alerts"));
            lines.extend(
                alerts
                    .iter()
                    .rev()
                    .map(|alert| alert.line(self.paint, width)),
            );
        }
        self.draw(&lines, rows)
    }

    fn trouble(&mut self, words: &str) -> Result<()> {
        let (_, rows) = paint::size();
        self.draw(&[self.paint.bold("RAVN"), self.paint.bad(words)], rows)
    }
}

/// A line when something changed.
#[derive(Default)]
struct Lines {
    last: String,
    printed: Option<Instant>,
    alerts: String,
}

impl Lines {
    fn print(&mut self, key: String, line: &str) -> Result<()> {
        let due = self
            .printed
            .is_none_or(|printed| printed.elapsed() >= PLAIN);
        if key != self.last || due {
            let now = paint::time_of_day(ravn_shared::clock::realtime_ms());
            writeln!(std::io::stdout(), "{now} {line}")?;
            self.last = key;
            self.printed = Some(Instant::now());
        }
        Ok(())
    }
}

impl View for Lines {
    fn show(&mut self, state: &State, alerts: &[Entry], rate: (f64, f64)) -> Result<()> {
        let key = format!(
            "{} {} {}",
            state.level,
            state.text("reason"),
            state.text("mode")
        );
        let line = format!(
            "{} score {:.0} events/s {:.0} syscalls/s {:.0} mode {} {}",
            state.level,
            state.number("score"),
            rate.0,
            rate.1,
            state.text("mode"),
            state.text("reason")
        );
        self.print(key, &line)?;
        let fresh = alerts
            .iter()
            .position(|alert| alert.id == self.alerts)
            .map_or(0, |at| at + 1);
        for alert in &alerts[fresh..] {
            writeln!(std::io::stdout(), "{}", alert.line(Paint::new(), 400))?;
        }
        if let Some(last) = alerts.last() {
            self.alerts.clone_from(&last.id);
        }
        Ok(())
    }

    fn trouble(&mut self, words: &str) -> Result<()> {
        self.print(words.to_owned(), words)
    }
}
