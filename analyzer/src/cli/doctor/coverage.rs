//! Which programs run, and how much of each kind is seen.

use serde_json::Value;

use super::Check;
use crate::cli::state::{State, text};

/// What a word of the coverage can be mended by. What is not here is a limit of tracepoints on
/// any kernel.
const MENDS: [(&str, &str); 5] = [
    (
        "filter excludes",
        "filter.exclude_programs and filter.exclude_cgroups in collector.toml leave something out",
    ),
    (
        "only the configured cgroups",
        "empty filter.only_cgroups in collector.toml to see the whole host",
    ),
    (
        "switched off by filter.kinds_off",
        "take the kind out of filter.kinds_off in collector.toml",
    ),
    (
        "not while the collector restarts",
        "mount -t bpf bpf /sys/fs/bpf, and see pins.folder in collector.toml",
    ),
    (
        "handle__",
        "journalctl -u ravn-collector says why a program was refused",
    ),
];

/// Programs that are not attached; one line for all kinds, and one for each that is not full.
pub fn checks(state: &State) -> Vec<Check> {
    let all = |field: &str| -> Vec<(String, String)> {
        let map = state.collector.get(field).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(Some(value))))
            .collect()
    };
    let mut out = Vec::new();
    let failed: Vec<String> = all("programs")
        .into_iter()
        .filter(|(_, fate)| fate != "attached")
        .map(|(name, fate)| format!("{name}: {fate}"))
        .collect();
    if !failed.is_empty() {
        out.push(Check {
            parts: failed.clone(),
            ..Check::bad(
                "programs",
                format!("{} not attached", failed.len()),
                "journalctl -u ravn-collector",
            )
        });
    }
    let kinds = all("coverage");
    if !kinds.is_empty() {
        out.push(coverage(&kinds));
    }
    out
}

fn coverage(kinds: &[(String, String)]) -> Check {
    let count = |word: &str| {
        let of = kinds.iter().filter(|(_, cover)| cover.starts_with(word));
        of.count()
    };
    let seen = format!(
        "{} full, {} degraded, {} absent",
        count("full"),
        count("degraded"),
        count("absent")
    );
    let less: Vec<_> = kinds.iter().filter(|(_, cover)| cover != "full").collect();
    if less.is_empty() {
        return Check::good("coverage", seen);
    }
    let mends: Vec<&str> = MENDS
        .iter()
        .filter(|(word, _)| less.iter().any(|(_, cover)| cover.contains(word)))
        .map(|(_, mend)| *mend)
        .collect();
    let parts = less
        .iter()
        .map(|(kind, cover)| match cover.split_once(": ") {
            Some((how, why)) => format!("{how:<8}  {kind:<15} {why}"),
            None => format!("{cover:<8}  {kind}"),
        });
    Check {
        parts: parts.collect(),
        ..Check::note("coverage", seen, mends.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn checked(coverage: Value) -> Check {
        let mut collector = Map::new();
        collector.insert("coverage".to_owned(), coverage);
        let state = State {
            collector,
            ..State::default()
        };
        checks(&state).remove(0)
    }

    #[test]
    fn limits_are_counted_and_named_and_only_what_can_be_mended_has_a_mend() {
        let check = checked(json!({
            "exec": "full", "unlink": "degraded: path as given", "kexec": "full",
        }));
        assert_eq!(check.seen, "2 full, 1 degraded, 0 absent");
        assert_eq!(check.parts, ["degraded  unlink          path as given"]);
        assert_eq!(check.mend, "");
        let check = checked(json!({
            "bind": "absent: switched off by filter.kinds_off",
            "open": "degraded: only the configured cgroups",
        }));
        assert_eq!(check.seen, "0 full, 1 degraded, 1 absent");
        assert!(check.mend.contains("kinds_off") && check.mend.contains("only_cgroups"));
        assert!(!check.mend.contains("journalctl"), "{}", check.mend);
    }
}
