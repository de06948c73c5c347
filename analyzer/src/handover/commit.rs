//! The commit: everything that judging changed, in one fenced MULTI.

use ravn_shared::clock;
use ravn_shared::keys::Keys;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};
use serde::Serialize;

use super::judging::Judging;
use super::lease::{Fenced, Lease};
use super::pending::Tried;
use super::state;
use crate::verdict::UNKNOWN;

/// The word stands for this long without being renewed.
const WORD_S: u64 = 10;
/// Alerts that the stream keeps, about.
const MAX_ALERTS: u64 = 10_000;
/// Dead letters that are kept; each at most 64 KiB.
const MAX_DEAD: i64 = 255;
/// Fields in one command; a longer one would hold Redis up.
const IN_ONE_COMMAND: usize = 500;

/// What a commit says beside the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Something happened: the changes alone.
    Change,
    /// A second has passed: the word and the state too.
    Second,
    /// The analyzer stops: the word is taken back.
    Farewell,
}

/// What a checkpoint is, seen from what a process has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Its last commit was executed, whatever became of the reply.
    Last,
    /// Its last commit was not executed; the one before it was.
    OneBefore,
    /// Redis has lost it, or went back to an older one.
    Missing,
    /// Another process has committed since.
    Foreign,
}

/// One line of `ravn:changes`.
#[derive(Debug, Serialize)]
struct Change<'a> {
    seq: u64,
    time: u64,
    host: &'a str,
    level: &'a str,
    prev: &'a str,
    score: f64,
    incident: Option<&'a str>,
    reason: &'a str,
}

/// Who commits, and where to.
#[derive(Debug)]
pub struct Committer {
    keys: Keys,
    host: String,
    /// This process; with a count it marks each commit in the checkpoint.
    me: String,
    count: u64,
    /// The last commit's reply came: it was executed.
    answered: bool,
    wipe: bool,
}

impl Committer {
    /// `me` must be another one for each process.
    pub fn new(keys: Keys, host: String, me: String) -> Self {
        Self {
            keys,
            host,
            me,
            count: 0,
            answered: false,
            wipe: false,
        }
    }

    /// What a checkpoint's mark (`l:at`) says of what this process holds in memory.
    pub fn compare(&mut self, mark: Option<&str>) -> Mark {
        let found = self.found(mark);
        if found == Mark::Last {
            self.wipe = false;
        }
        found
    }

    fn found(&self, mark: Option<&str>) -> Mark {
        if self.count == 0 {
            // Nothing of what is in memory was ever committed: it all comes again.
            return Mark::Foreign;
        }
        match mark.map(|mark| mark.split_once(' ')) {
            None | Some(None) => Mark::Missing,
            _ if mark == Some(self.last_mark().as_str()) => Mark::Last,
            Some(Some((me, count))) if me == self.me => {
                let count: u64 = count.parse().unwrap_or(0);
                // A commit that was executed and is gone is Redis's loss.
                if count + 1 == self.count && !self.answered {
                    Mark::OneBefore
                } else {
                    Mark::Missing
                }
            }
            Some(_) => Mark::Foreign,
        }
    }

    fn last_mark(&self) -> String {
        format!("{} {}", self.me, self.count)
    }

    /// The next commit writes the checkpoint anew: Redis has another one, or none.
    pub fn start_over(&mut self) {
        self.wipe = true;
    }

    /// Commits; false if the lease is lost, and then nothing was changed.
    ///
    /// # Errors
    /// Redis's; `judging` still holds everything then.
    pub async fn commit(
        &mut self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
        judging: &mut Judging,
        occasion: Occasion,
    ) -> RedisResult<bool> {
        judging.gather();
        let covered = judging.covered();
        self.count += 1;
        self.answered = false;
        judging.pending.tried = Some(Tried {
            alerts: judging.pending.alerts.len(),
            letters: judging.pending.letters.len(),
            level: judging.judge.level(),
        });
        let pipe = self.transaction(lease, judging, covered, occasion);
        let Fenced::Done(replies) = lease.fenced(connection, pipe).await? else {
            return Ok(false);
        };
        // A command that failed inside (a key of another type) does not undo the others.
        if let Some(Value::ServerError(error)) = replies
            .into_iter()
            .find(|reply| matches!(reply, Value::ServerError(_)))
        {
            tracing::error!("part of a commit: {error:?}; is another program writing RAVN's keys?");
        }
        self.answered = true;
        self.wipe = false;
        judging.pending.fields.clear();
        judging.pending.applied();
        judging.waiting.let_go(covered);
        Ok(true)
    }

    fn transaction(
        &self,
        lease: &Lease,
        judging: &Judging,
        covered: usize,
        occasion: Occasion,
    ) -> Pipeline {
        let mut pipe = redis::pipe();
        if covered > 0 {
            let last = -1 - i64::try_from(covered).unwrap_or(i64::MAX - 1);
            let own = self.keys.inflight(&lease.consumer);
            pipe.cmd("LTRIM").arg(own).arg(0).arg(last);
        }
        self.dead(&mut pipe, judging, covered);
        self.alerts(&mut pipe, judging);
        self.fields(&mut pipe, judging);
        self.word(&mut pipe, judging, occasion);
        if occasion == Occasion::Farewell {
            lease.give_back(&mut pipe);
        } else {
            lease.renew(&mut pipe);
        }
        pipe
    }

    fn dead(&self, pipe: &mut Pipeline, judging: &Judging, covered: usize) {
        let letters: Vec<&[u8]> = judging
            .waiting
            .letters(covered)
            .chain(&judging.pending.letters)
            .map(AsRef::as_ref)
            .collect();
        if !letters.is_empty() {
            pipe.cmd("LPUSH").arg(self.keys.dead()).arg(letters);
            pipe.cmd("LTRIM").arg(self.keys.dead()).arg(0).arg(MAX_DEAD);
        }
    }

    fn alerts(&self, pipe: &mut Pipeline, judging: &Judging) {
        for alert in &judging.pending.alerts {
            pipe.cmd("XADD").arg(self.keys.alerts());
            pipe.arg("MAXLEN").arg("~").arg(MAX_ALERTS).arg("*");
            for (name, value) in alert.fields() {
                pipe.arg(name).arg(value);
            }
            pipe.cmd("PUBLISH")
                .arg(self.keys.alerts_live())
                .arg(&alert.body);
        }
    }

    fn word(&self, pipe: &mut Pipeline, judging: &Judging, occasion: Occasion) {
        let (keys, published) = (&self.keys, judging.pending.published);
        let level = judging.judge.level();
        let word = if occasion == Occasion::Farewell {
            pipe.cmd("DEL").arg(keys.threat_level());
            pipe.cmd("DEL").arg(keys.state());
            if keys.is_shared() {
                pipe.cmd("ZREM").arg(keys.levels()).arg(&self.host);
            }
            UNKNOWN
        } else {
            pipe.cmd("SET").arg(keys.threat_level()).arg(level.word());
            pipe.arg("EX").arg(WORD_S);
            level.word()
        };
        let changed = published != Some(level) || occasion == Occasion::Farewell;
        if changed || occasion == Occasion::Second {
            pipe.cmd("PUBLISH").arg(keys.threat_updates()).arg(word);
        }
        if changed {
            let standing = judging.judge.score();
            let change = Change {
                seq: judging.pending.changes + 1,
                time: clock::realtime_ms(),
                host: &self.host,
                level: word,
                prev: published.map_or(UNKNOWN, |level| level.word()),
                score: standing.score,
                incident: standing.incident.as_deref(),
                reason: &standing.reason,
            };
            let line = serde_json::to_string(&change).unwrap_or_default();
            pipe.cmd("PUBLISH").arg(keys.changes()).arg(line);
            pipe.cmd("HSET").arg(keys.checkpoint());
            pipe.arg("l:changes").arg(change.seq);
        }
        if occasion == Occasion::Second || (changed && occasion != Occasion::Farewell) {
            pipe.cmd("HSET")
                .arg(keys.state())
                .arg(state::fields(judging));
            pipe.cmd("EXPIRE").arg(keys.state()).arg(WORD_S);
            if keys.is_shared() {
                let score = format!("{:.1}", judging.judge.score().score);
                pipe.cmd("ZADD").arg(keys.levels());
                pipe.arg(score).arg(&self.host);
            }
        }
    }

    fn fields(&self, pipe: &mut Pipeline, judging: &Judging) {
        let key = self.keys.checkpoint();
        if self.wipe {
            pipe.cmd("DEL").arg(&key);
            let changes = judging.pending.changes;
            pipe.cmd("HSET").arg(&key).arg("l:changes").arg(changes);
        }
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        for (name, value) in &judging.pending.fields {
            match value {
                Some(value) => set.push((name.as_str(), value.as_slice())),
                None => gone.push(name.as_str()),
            }
        }
        for part in set.chunks(IN_ONE_COMMAND) {
            pipe.cmd("HSET").arg(&key).arg(part);
        }
        for part in gone.chunks(IN_ONE_COMMAND) {
            pipe.cmd("HDEL").arg(&key).arg(part);
        }
        pipe.cmd("HSET").arg(&key).arg("l:at").arg(self.last_mark());
    }
}

#[cfg(test)]
mod tests {
    use super::{Committer, Keys, Mark};

    #[test]
    fn the_mark_tells_whether_the_last_commit_was_executed() {
        let mut committer = Committer::new(Keys::new("", None), "h".to_owned(), "me".to_owned());
        assert_eq!(
            committer.compare(None),
            Mark::Foreign,
            "nothing was committed yet"
        );
        committer.count = 7;
        committer.start_over();
        assert_eq!(committer.compare(Some("me 6")), Mark::OneBefore);
        assert!(committer.wipe, "what was not executed is still to do");
        assert_eq!(committer.compare(Some("me 5")), Mark::Missing);
        assert_eq!(committer.compare(None), Mark::Missing);
        assert_eq!(committer.compare(Some("other 7")), Mark::Foreign);
        assert_eq!(committer.compare(Some("junk")), Mark::Missing);
        assert_eq!(committer.compare(Some("me 7")), Mark::Last);
        assert!(!committer.wipe);
        committer.answered = true;
        assert_eq!(committer.compare(Some("me 6")), Mark::Missing);
    }
}
