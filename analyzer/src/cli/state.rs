//! What stands in Redis about a host, as one JSON value and as the parts that people read.

use std::collections::HashMap;

use anyhow::Result;
use ravn_shared::keys::Keys;
use ravn_shared::text::escape;
use redis::Connection;
use serde_json::{Map, Value, json};

use super::access::said;
use crate::verdict::UNKNOWN;

/// The two hashes and the word, read at one time.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// LOW, MEDIUM, HIGH; UNKNOWN while nobody judges.
    pub level: String,
    /// `ravn:state`; empty while no analyzer lives.
    pub analyzer: Map<String, Value>,
    /// `ravn:collector`; empty while no collector lives.
    pub collector: Map<String, Value>,
}

impl State {
    /// Reads all three.
    ///
    /// # Errors
    /// What Redis said, and the mend.
    pub fn read(connection: &mut Connection, keys: &Keys) -> Result<Self> {
        type Hash = HashMap<Vec<u8>, Vec<u8>>;
        let (level, analyzer, collector): (Option<String>, Hash, Hash) = redis::pipe()
            .cmd("GET")
            .arg(keys.threat_level())
            .cmd("HGETALL")
            .arg(keys.state())
            .cmd("HGETALL")
            .arg(keys.collector())
            .query(connection)
            .map_err(|error| said(&error))?;
        Ok(Self {
            level: level.map_or_else(|| UNKNOWN.to_owned(), |word| escape(word.as_bytes())),
            analyzer: values(analyzer),
            collector: values(collector),
        })
    }

    /// That of a host whose state is none: nobody is known to judge it.
    pub fn unreadable(why: &str) -> Self {
        Self {
            level: UNKNOWN.to_owned(),
            analyzer: Map::from_iter([("reason".to_owned(), json!(why))]),
            collector: Map::new(),
        }
    }

    /// Both daemons live, and somebody judges.
    pub fn works(&self) -> bool {
        self.level != UNKNOWN && !self.analyzer.is_empty() && !self.collector.is_empty()
    }

    /// All of it, as `ravn status --json` prints it.
    pub fn json(&self) -> Value {
        let mut all = self.analyzer.clone();
        all.insert("level".to_owned(), json!(self.level));
        for list in ["processes", "incidents"] {
            all.entry(list).or_insert_with(|| json!([]));
        }
        all.insert(
            "collector".to_owned(),
            Value::Object(self.collector.clone()),
        );
        Value::Object(all)
    }

    /// A field of the analyzer's as text.
    pub fn text(&self, name: &str) -> String {
        text(self.analyzer.get(name))
    }

    /// A field of the analyzer's as a number.
    pub fn number(&self, name: &str) -> f64 {
        self.analyzer
            .get(name)
            .and_then(Value::as_f64)
            .unwrap_or_default()
    }

    /// A list of the analyzer's.
    pub fn list(&self, name: &str) -> &[Value] {
        self.analyzer
            .get(name)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// A count of the collector's.
    pub fn collected(&self, name: &str) -> u64 {
        self.collector
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    /// A field of the collector's as text.
    pub fn text_of_collector(&self, name: &str) -> String {
        text(self.collector.get(name))
    }

    /// A count of the ledger: `records` or `syscalls`, and the name of the sum.
    pub fn ledger(&self, of: &str, sum: &str) -> u64 {
        let value = self.analyzer.get("ledger").map(|ledger| &ledger[of][sum]);
        value.and_then(Value::as_u64).unwrap_or_default()
    }

    /// Whether the ledger has a part of this name.
    pub fn has_ledger(&self, of: &str) -> bool {
        let ledger = self.analyzer.get("ledger");
        ledger.is_some_and(|ledger| ledger[of].is_object())
    }

    /// Everything that the ledger counts as lost.
    pub fn lost(&self, of: &str) -> u64 {
        self.lost_by(of).iter().map(|(_, count)| count).sum()
    }

    /// The same by stage and reason (`kernel.budget`), the most first.
    pub fn lost_by(&self, of: &str) -> Vec<(String, u64)> {
        let lost = self
            .analyzer
            .get("ledger")
            .and_then(|ledger| ledger[of]["lost"].as_object());
        let mut reasons: Vec<_> = lost
            .into_iter()
            .flatten()
            .filter_map(|(reason, count)| Some((reason.clone(), count.as_u64()?)))
            .filter(|(_, count)| *count > 0)
            .collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

/// A JSON value as text for people; nothing for null.
pub fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => escape(text.as_bytes()),
        Some(other) => escape(other.to_string().as_bytes()),
    }
}

/// Fields that stay text even where they look like a number.
const TEXTS: [&str; 7] = [
    "reason",
    "mode_reason",
    "mode",
    "model",
    "rules",
    "version",
    "level",
];

/// Redis' flat strings as the JSON values that they hold.
fn values(hash: HashMap<Vec<u8>, Vec<u8>>) -> Map<String, Value> {
    hash.into_iter()
        .map(|(name, bytes)| {
            let name = escape(&name);
            let value = if TEXTS.contains(&name.as_str()) {
                None
            } else {
                serde_json::from_slice(&bytes).ok()
            };
            let value = value
                .unwrap_or_else(|| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
            (name, value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_strings_become_what_they_hold() {
        let hash = HashMap::from([
            (b"score".to_vec(), b"91.5".to_vec()),
            (b"reason".to_vec(), b"42".to_vec()),
            (b"processes".to_vec(), br#"[{"tgid":7}]"#.to_vec()),
            (
                b"ledger".to_vec(),
                br#"{"records":{"judged":5,"lost":{"kernel.ring_full":2,"x.y":1}}}"#.to_vec(),
            ),
        ]);
        let state = State {
            level: "LOW".to_owned(),
            analyzer: values(hash),
            collector: Map::new(),
        };
        let json = state.json();
        assert_eq!(json["score"], 91.5);
        assert_eq!(json["reason"], "42");
        assert_eq!(json["processes"][0]["tgid"], 7);
        assert_eq!(
            (state.ledger("records", "judged"), state.lost("records")),
            (5, 3)
        );
        assert!(!state.works());
    }
}
