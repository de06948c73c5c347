//! Names of Redis keys and channels, decided once (`docs/keys.md`).

/// All names, with the configured prefix and, where hosts share a Redis, the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
    suffix: String,
}

impl Keys {
    /// `prefix` stands before every name; `shared_host` is the host's name where several
    /// hosts share one Redis, and then ends every name that is a host's own.
    pub fn new(prefix: &str, shared_host: Option<&str>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            suffix: shared_host
                .map(|host| format!(":{host}"))
                .unwrap_or_default(),
        }
    }

    fn own(&self, name: &str) -> String {
        format!("{}{name}{}", self.prefix, self.suffix)
    }

    fn common(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether several hosts share this Redis.
    pub fn is_shared(&self) -> bool {
        !self.suffix.is_empty()
    }

    /// Sorted set: the score of each host that is judged, where hosts share a Redis.
    pub fn levels(&self) -> String {
        self.common("ravn:levels")
    }

    /// [`Self::state`] of another host that shares this Redis.
    pub fn state_of(&self, host: &str) -> String {
        format!("{}ravn:state:{host}", self.prefix)
    }

    /// List of batches, oldest at the right. Written by the collector.
    pub fn raw(&self) -> String {
        self.own("events:raw")
    }

    /// Batches that a consumer took and has not covered by a checkpoint.
    pub fn inflight(&self, consumer: &str) -> String {
        self.own(&format!("events:inflight:{consumer}"))
    }

    /// Set of consumers whose in-flight lists may hold batches.
    pub fn consumers(&self) -> String {
        self.own("events:consumers")
    }

    /// `token:name` of the analyzer that judges this list.
    pub fn lease(&self) -> String {
        self.own("events:lease")
    }

    /// Counter that gives each lease its fencing token.
    pub fn lease_token(&self) -> String {
        self.own("events:lease:token")
    }

    /// Hash of all that a restart needs.
    pub fn checkpoint(&self) -> String {
        self.own("ravn:checkpoint")
    }

    /// What could not be decoded, or broke a scorer.
    pub fn dead(&self) -> String {
        self.own("events:dead")
    }

    /// Channel: a copy of each batch while somebody listens.
    pub fn tap(&self) -> String {
        self.own("events:tap")
    }

    /// The word: LOW, MEDIUM or HIGH. No key: nobody is judging.
    pub fn threat_level(&self) -> String {
        self.own("threat_level")
    }

    /// Channel: the bare word.
    pub fn threat_updates(&self) -> String {
        self.own("threat_updates")
    }

    /// Channel: JSON at each change.
    pub fn changes(&self) -> String {
        self.own("ravn:changes")
    }

    /// Hash: the analyzer's state.
    pub fn state(&self) -> String {
        self.own("ravn:state")
    }

    /// Hash: the collector's state.
    pub fn collector(&self) -> String {
        self.own("ravn:collector")
    }

    /// Stream of alerts.
    pub fn alerts(&self) -> String {
        self.common("ravn:alerts")
    }

    /// Channel: the same alerts.
    pub fn alerts_live(&self) -> String {
        self.common("ravn:alerts:live")
    }
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn bare_names_for_one_host_and_suffixed_ones_for_several() {
        let one = Keys::new("", None);
        assert_eq!(
            (one.raw(), one.threat_level()),
            ("events:raw".to_owned(), "threat_level".to_owned())
        );
        let many = Keys::new("eu:", Some("web-1"));
        assert_eq!(many.inflight("a"), "eu:events:inflight:a:web-1");
        assert_eq!(many.alerts(), "eu:ravn:alerts");
        assert_eq!(many.levels(), "eu:ravn:levels");
        assert_eq!(many.state(), many.state_of("web-1"));
        assert!(many.is_shared() && !one.is_shared());
    }
}
