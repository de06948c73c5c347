//! `ravn hosts`: every host that shares this Redis, the worst first.

use std::process::ExitCode;

use anyhow::Result;
use ravn_shared::clock;
use ravn_shared::keys::Keys;
use redis::Connection;
use serde_json::{Value, json};

use super::access::{Access, said};
use super::paint::{self, Paint, cut};
use super::state::State;

/// Hosts that are shown, the worst: whoever may write the set may name any number.
const MOST: usize = 1000;

/// What `ravn hosts` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// One host.
#[derive(Debug)]
struct Host {
    name: String,
    score: f64,
    state: State,
}

/// Prints a table, or a JSON object for each host.
///
/// # Errors
/// What Redis said, and the mend.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let mut connection = access.reader()?;
    let hosts = read(&mut connection, access)?;
    let now_ms = clock::realtime_ms();
    if args.json {
        for host in &hosts {
            println!("{}", host.json(now_ms));
        }
    } else if hosts.is_empty() {
        println!(
            "no host: ravn:levels is empty; it is kept where hosts share a Redis \
             (redis.shared = true in both files), by analyzers that run"
        );
    } else {
        let (width, _) = paint::size();
        for line in lines(&hosts, Paint::new(), width, now_ms) {
            println!("{line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The worst [`MOST`] that `ravn:levels` names, with their states; that there are more is said
/// beside.
fn read(connection: &mut Connection, access: &Access) -> Result<Vec<Host>> {
    let mut scores: Vec<(Vec<u8>, f64)> = redis::cmd("ZRANGE")
        .arg(access.keys().levels())
        .arg(0)
        .arg(MOST)
        .arg(&["REV", "WITHSCORES"])
        .query(connection)
        .map_err(|error| said(&error))?;
    if scores.len() > MOST {
        scores.truncate(MOST);
        eprintln!("ravn: ravn:levels names more than {MOST} hosts; these are the worst");
    }
    Ok(scores
        .into_iter()
        .map(|(name, score)| {
            let name = String::from_utf8_lossy(&name).into_owned();
            let keys = Keys::new(access.prefix(), Some(&name));
            // What one host wrote there hides no other.
            let state = State::read(connection, &keys)
                .unwrap_or_else(|error| State::unreadable(&format!("{error:#}")));
            Host { name, score, state }
        })
        .collect())
}

impl Host {
    /// Seconds since its analyzer last wrote its state; None without a state.
    fn age_s(&self, now_ms: u64) -> Option<u64> {
        let updated_ms = self.state.number("updated") as u64;
        (updated_ms > 0).then(|| now_ms.saturating_sub(updated_ms) / 1000)
    }

    fn json(&self, now_ms: u64) -> Value {
        json!({
            "host": self.name,
            "level": self.state.level,
            "score": self.score,
            "since": self.state.number("since") as u64,
            "age_s": self.age_s(now_ms),
            "collector": !self.state.collector.is_empty(),
            "mode": self.state.text("mode"),
            "reason": self.state.text("reason"),
        })
    }
}

fn lines(hosts: &[Host], paint: Paint, width: usize, now_ms: u64) -> Vec<String> {
    let name = |host: &Host| ravn_shared::text::escape(host.name.as_bytes());
    let longest = hosts.iter().map(|host| name(host).chars().count()).max();
    let wide = longest.unwrap_or_default().clamp(4, 64);
    let mut out = vec![paint.bold(&format!(
        "{:<wide$}  {:<7}  {:>5}  {:>6}  {:<9}  reason",
        "host", "level", "score", "age", "collector"
    ))];
    for host in hosts {
        let level = host.state.level.as_str();
        let pad = " ".repeat(7_usize.saturating_sub(level.chars().count()));
        let age = host
            .age_s(now_ms)
            .map_or_else(|| "-".to_owned(), |age| format!("{age} s"));
        let collector = if host.state.collector.is_empty() {
            paint.bad("gone     ")
        } else {
            "runs     ".to_owned()
        };
        out.push(format!(
            "{:<wide$}  {}{pad}  {:>5.0}  {age:>6}  {collector}  {}",
            cut(&name(host), wide),
            paint.level(level),
            host.score,
            cut(
                &host.state.text("reason"),
                width.saturating_sub(wide + 39).max(8)
            ),
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    #[test]
    fn a_host_is_one_line_and_its_name_is_not_executed() {
        let mut analyzer = Map::new();
        analyzer.insert("updated".to_owned(), json!(5_000));
        analyzer.insert("reason".to_owned(), json!("a shell on a socket"));
        let host = Host {
            name: "web\u{1b}[2J".to_owned(),
            score: 85.0,
            state: State {
                level: "HIGH".to_owned(),
                analyzer,
                collector: Map::new(),
            },
        };
        assert_eq!(host.json(8_999)["age_s"], 3);
        let shown = lines(&[host], Paint::new(), 100, 8_999);
        assert_eq!(shown.len(), 2);
        for part in ["HIGH", "85", "3 s", "gone", "a shell on a socket"] {
            assert!(shown[1].contains(part), "{part}: {}", shown[1]);
        }
        assert!(!shown[1].contains('\u{1b}'), "{}", shown[1]);
    }
}
