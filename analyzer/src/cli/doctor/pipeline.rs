//! Whether events flow: Redis, the two daemons, lag and losses.

use std::path::Path;

use ravn_shared::{config, link};
use redis::Connection;
use serde_json::Value;

use super::{Check, coverage};
use crate::cli::access::{Access, connect, said};
use crate::cli::paint::grouped;
use crate::cli::state::{State, text};
use crate::config::Config;
use crate::verdict::UNKNOWN;

/// Slower than this, a HIGH comes too late to act on.
const LAG_MS: f64 = 2000.0;

/// Everything that can be seen through Redis.
pub fn checks(access: &Access, config: &Path) -> Vec<Check> {
    let mut out = Vec::new();
    let mut connection = match access.reader() {
        Ok(connection) => connection,
        Err(error) => {
            out.push(Check::bad("redis", format!("{error:#}"), reach(access)));
            return out;
        }
    };
    out.push(Check::good("redis", access.place()));
    out.push(access_list(&mut connection));
    out.push(policy(config));
    match State::read(&mut connection, &access.keys()) {
        Ok(state) => out.extend(daemons(&state)),
        Err(error) => out.push(Check::bad("state", format!("{error:#}"), reach(access))),
    }
    out
}

fn reach(access: &Access) -> String {
    format!(
        "systemctl status ravn-redis; is {} right, and may this user reach it?",
        access.place()
    )
}

/// The reader must not see the queue: if it can, the ACL file is not in force.
fn access_list(connection: &mut Connection) -> Check {
    let answer = redis::cmd("LLEN")
        .arg("events:raw")
        .query::<u64>(connection);
    match answer {
        Err(error) if error.code() == Some("NOPERM") => Check::good(
            "ACL",
            "the reader may read what is published, and nothing else",
        ),
        Ok(_) => Check::bad(
            "ACL",
            "the reader may look into events:raw",
            "load systemd/redis/users.acl, and use the user ravn-reader",
        ),
        Err(error) => Check::note("ACL", said(&error).to_string(), "see above"),
    }
}

/// What only the analyzer's user may ask for.
fn policy(path: &Path) -> Check {
    let what = "redis policy";
    let info = || -> anyhow::Result<String> {
        let config: Config = config::load(path, true)?;
        let mut connection = connect(link::connection_info(&config.redis)?)?;
        Ok(redis::cmd("INFO").arg("memory").query(&mut connection)?)
    };
    let info = match info() {
        Ok(info) => info,
        Err(error) => {
            return Check::note(
                what,
                format!("not looked at: {error:#}"),
                "run ravn doctor as root; the analyzer checks the policy itself",
            );
        }
    };
    let field = |name: &str| {
        let name = &format!("{name}:");
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let number = |name: &str| field(name).parse::<u64>().unwrap_or_default();
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let mut memory = format!("{} used", field("used_memory_human"));
    if most > 0 {
        memory.push_str(&format!(" of {}", field("maxmemory_human")));
    }
    match field("maxmemory_policy").as_str() {
        "noeviction" if most > 0 && used > most / 10 * 9 => Check::bad(
            what,
            format!("noeviction, {memory}: nearly full"),
            "see whether the analyzer follows (lag, queued); else raise maxmemory \
             (docs/operating.md says how)",
        ),
        "noeviction" => Check::good(what, format!("noeviction, {memory}")),
        other => Check::bad(
            what,
            format!("{other}: Redis may throw the queue away"),
            "set maxmemory-policy noeviction in Redis' configuration",
        ),
    }
}

fn daemons(state: &State) -> Vec<Check> {
    let mut out = vec![collector(state)];
    out.extend(coverage::checks(state));
    out.push(if state.analyzer.is_empty() {
        Check::bad(
            "analyzer",
            "no state of the last 10 s",
            "systemctl status ravn-analyzer",
        )
    } else {
        Check::good(
            "analyzer",
            format!(
                "model {}, rules {}",
                state.text("model"),
                state.text("rules")
            ),
        )
    });
    out.push(if state.level == UNKNOWN {
        Check::bad(
            "threat_level",
            "no such key: nobody judges",
            "systemctl restart ravn-analyzer",
        )
    } else {
        Check::good("threat_level", state.level.clone())
    });
    if !state.analyzer.is_empty() {
        out.extend([mode(state), lag(state), losses(state)]);
        out.extend(unknown_kinds(state));
    }
    out
}

fn collector(state: &State) -> Check {
    let what = "collector";
    if state.collector.is_empty() {
        return Check::bad(
            what,
            "no state of the last 15 s",
            "systemctl status ravn-collector",
        );
    }
    let seen = format!(
        "{}, up {} s, {} events",
        state.text_of_collector("version"),
        state.collected("uptime_s"),
        grouped(state.collected("events"))
    );
    if state.text_of_collector("narrowed") == "1" {
        return Check::note(
            what,
            format!("{seen}; narrowed to some cgroups"),
            "empty filter.only_cgroups to see the whole host",
        );
    }
    Check::good(what, seen)
}

fn mode(state: &State) -> Check {
    if state.text("mode") == "full" {
        Check::good("mode", "rules and model")
    } else {
        Check::note(
            "mode",
            format!("rules alone: {}", state.text("mode_reason")),
            "ravn judges on; mend the model for more",
        )
    }
}

fn lag(state: &State) -> Check {
    let lag = state.number("lag_ms");
    if lag <= LAG_MS {
        Check::good("lag", format!("{lag:.0} ms"))
    } else {
        Check::bad(
            "lag",
            format!("{lag:.0} ms"),
            "give the analyzer more CPU, or narrow what is watched",
        )
    }
}

fn losses(state: &State) -> Check {
    let unexplained =
        state.ledger("records", "unexplained") + state.ledger("syscalls", "unexplained");
    let mut by = state.lost_by("records");
    by.extend(state.lost_by("syscalls"));
    let mut seen = format!(
        "{} records, {} syscalls; {unexplained} unexplained",
        state.lost("records"),
        state.lost("syscalls")
    );
    if by.is_empty() && unexplained == 0 {
        return Check::good("losses", seen);
    }
    for (reason, count) in &by {
        seen.push_str(&format!("; {reason} {}", grouped(*count)));
    }
    for cut in cuts(state) {
        seen.push_str(&format!("; {cut}"));
    }
    let mut mends: Vec<&str> = by.iter().map(|(reason, _)| mend_of(reason)).collect();
    if unexplained > 0 {
        mends.push("see when the collector was killed: journalctl -u ravn-collector");
    }
    mends.sort_unstable();
    mends.dedup();
    Check::note("losses", seen, mends.join("; "))
}

/// What only a newer analyzer could judge.
fn unknown_kinds(state: &State) -> Option<Check> {
    let count = state.number("unknown_kinds") as u64;
    (count > 0).then(|| {
        Check::note(
            "kinds",
            format!(
                "{} records of kinds that this analyzer does not know",
                grouped(count)
            ),
            "the collector is newer: upgrade the analyzer too, and restart it",
        )
    })
}

/// Whose records the budget cut, the most first.
fn cuts(state: &State) -> Vec<String> {
    let cuts = state.collector.get("budget_cut").and_then(Value::as_array);
    cuts.into_iter()
        .flatten()
        .take(3)
        .map(|cut| {
            format!(
                "of process {} {} {}",
                text(cut.get("tgid")),
                text(cut.get("count")),
                text(cut.get("kind"))
            )
        })
        .collect()
}

/// What helps against a loss, by its `stage.reason`; docs/operating.md has them all.
fn mend_of(reason: &str) -> &'static str {
    match reason.rsplit('.').next().unwrap_or_default() {
        "budget" => "raise filter.budget in collector.toml, or exclude the program",
        "ring_full" => "raise rings.* in collector.toml, or give the collector more CPU",
        "scratch_full" | "recursion" => "tell us: this is rare, and wants a look at the host",
        "list_full" | "redis_oom" => "give the analyzer more CPU, or Redis more memory",
        "buffer_full" => "mend Redis: it was away for longer than the buffer lasts",
        "malformed" | "undecodable" => {
            "look at the logs of both daemons, and whether their versions differ"
        }
        "data_lost" => "Redis restarted without its data",
        _ => "docs/operating.md says what each reason means",
    }
}

#[cfg(test)]
mod tests {
    use ravn_shared::kind::Reason;

    use super::mend_of;

    #[test]
    fn every_reason_has_a_mend_and_stands_in_the_manual() {
        let manual = include_str!("../../../../docs/operating.md");
        let reasons = Reason::ALL.map(Reason::name);
        for reason in reasons.into_iter().chain(["data_lost"]) {
            assert!(!mend_of(reason).contains("docs/"), "{reason}");
            assert!(manual.contains(&format!(".{reason}` |")), "{reason}");
        }
    }
}
