//! The commit: everything that judging changed, in one fenced MULTI.

use std::sync::Arc;

use ravn_shared::clock;
use ravn_shared::keys::Keys;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, Value};
use serde::Serialize;

use super::judging::Judging;
use super::lease::{Fenced, Lease};
use super::pending::{MOST_LETTERS, Tried};
use super::state;
use crate::verdict::UNKNOWN;

/// The word stands for this long without being renewed.
const WORD_S: u64 = 10;
/// Alerts that the stream keeps, about.
const MAX_ALERTS: u64 = 10_000;
/// The checkpoint's field that tells who committed last, and how often before.
pub const MARK: &str = "l:at";
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
    /// The commit that was tried last was executed, though its reply did not come.
    Last,
    /// It is what memory goes on from: a commit that was tried since was not executed.
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

/// What a commit did to the checkpoint.
#[derive(Clone, Debug)]
struct Attempt {
    mark: String,
    /// It replaced it.
    wiped: bool,
}

/// Who commits, and where to.
#[derive(Debug)]
pub struct Committer {
    keys: Keys,
    host: String,
    /// This process; with a count it marks each commit in the checkpoint.
    me: String,
    count: u64,
    /// Mark of the checkpoint that what is in memory goes on from; None: of none.
    last: Option<String>,
    /// A commit that nobody knows the end of.
    tried: Option<Attempt>,
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
            last: None,
            tried: None,
            wipe: false,
        }
    }

    /// What is in memory was made of the checkpoint with this mark (`l:at`).
    pub fn begins_at(&mut self, mark: Option<String>) {
        self.last = mark;
        self.tried = None;
        // What was to be written anew was another memory's.
        self.wipe = false;
    }

    /// What the checkpoint's mark says of what this process holds in memory. The commit that was
    /// tried last is settled by it.
    pub fn compare(&mut self, mark: Option<&str>) -> Mark {
        if let Some(tried) = self.tried.take()
            && mark == Some(tried.mark.as_str())
        {
            self.is_done(tried);
            return Mark::Last;
        }
        if self.last.as_deref() == mark {
            return Mark::OneBefore;
        }
        match mark.and_then(|mark| mark.rsplit_once(' ')) {
            Some((who, _)) if who != self.me => Mark::Foreign,
            // None, or an older one of our own: a commit that was executed and is gone is
            // Redis's loss.
            _ => Mark::Missing,
        }
    }

    /// The checkpoint is written anew, as soon as all of it is known: Redis has another one, or
    /// none.
    pub fn start_over(&mut self) {
        self.wipe = true;
    }

    fn next(&mut self, judging: &Judging) -> Attempt {
        self.count += 1;
        Attempt {
            mark: format!("{} {}", self.me, self.count),
            wiped: self.wipe && judging.is_whole(),
        }
    }

    fn is_done(&mut self, tried: Attempt) {
        self.last = Some(tried.mark);
        self.wipe &= !tried.wiped;
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
        let tried = self.next(judging);
        self.tried = Some(tried.clone());
        judging.pending.tried = Some(Tried {
            alerts: judging.pending.alerts.len(),
            letters: judging.pending.letters.len(),
            level: judging.judge.level(),
        });
        let pipe = self.transaction(lease, judging, &tried, occasion);
        let replies = match lease.fenced(connection, pipe).await {
            Ok(Fenced::Done(replies)) => replies,
            Ok(Fenced::Lost) => return Ok(false),
            Err(error) => {
                // Redis answered: nothing of it was executed, and the mark did not move.
                if error.code().is_some() {
                    self.tried = None;
                    judging.pending.tried = None;
                }
                return Err(error);
            }
        };
        // A command that failed inside (a key of another type) does not undo the others.
        if let Some(Value::ServerError(error)) = replies
            .into_iter()
            .find(|reply| matches!(reply, Value::ServerError(_)))
        {
            tracing::error!("part of a commit: {error:?}; is another program writing RAVN's keys?");
        }
        self.tried = None;
        self.is_done(tried);
        judging.pending.fields.clear();
        judging.pending.applied();
        judging.waiting.let_go(covered);
        Ok(true)
    }

    /// Lets go what is covered, without a commit: its effects are in memory alone until the next
    /// one. Nothing here needs memory of Redis. False, and nothing done, if the lease is another's.
    ///
    /// A MULTI is refused at maxmemory, so the list may become another's between the look and the
    /// cut: what is cut too much then is told as unexplained.
    ///
    /// # Errors
    /// Redis's.
    pub async fn let_go(
        &self,
        connection: &mut MultiplexedConnection,
        lease: &Lease,
        judging: &mut Judging,
    ) -> RedisResult<bool> {
        if !lease.stands(connection).await? {
            return Ok(false);
        }
        // A cut before may have been executed without a reply.
        let oldest = lease.oldest(connection, &self.keys).await?;
        let known = oldest.is_some_and(|oldest| judging.waiting.begins_with(&oldest));
        let covered = if known { judging.covered() } else { 0 };
        let mut pipe = redis::pipe();
        lease.cut(&mut pipe, &self.keys, covered);
        lease.renew(&mut pipe);
        pipe.exec_async(connection).await?;
        let letters = judging.waiting.letters(covered).map(Arc::clone);
        let letters: Vec<_> = letters.collect();
        judging.pending.add_letters(letters);
        judging.waiting.let_go(covered);
        Ok(true)
    }

    fn transaction(
        &self,
        lease: &Lease,
        judging: &Judging,
        tried: &Attempt,
        occasion: Occasion,
    ) -> Pipeline {
        let covered = judging.covered();
        let mut pipe = redis::pipe();
        lease.cut(&mut pipe, &self.keys, covered);
        self.dead(&mut pipe, judging, covered);
        self.alerts(&mut pipe, judging);
        self.fields(&mut pipe, judging, tried);
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
            let last = MOST_LETTERS - 1;
            pipe.cmd("LTRIM").arg(self.keys.dead()).arg(0).arg(last);
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

    fn fields(&self, pipe: &mut Pipeline, judging: &Judging, tried: &Attempt) {
        let key = self.keys.checkpoint();
        if tried.wiped {
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
        pipe.cmd("HSET").arg(&key).arg(MARK).arg(&tried.mark);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Attempt, Committer, Keys, Mark};
    use crate::handover::judging::{Judging, Recipe};
    use crate::sequence::ModelSource;

    fn tried(mark: &str, wiped: bool) -> Option<Attempt> {
        let mark = mark.to_owned();
        Some(Attempt { mark, wiped })
    }

    fn committer() -> Committer {
        Committer::new(Keys::new("", None), "h".to_owned(), "me".to_owned())
    }

    #[test]
    fn the_mark_tells_whether_the_last_commit_was_executed() {
        let mut committer = committer();
        committer.begins_at(Some("me 6".to_owned()));
        for _ in 0..2 {
            committer.tried = tried("me 7", true);
            committer.start_over();
            assert_eq!(committer.compare(Some("me 6")), Mark::OneBefore);
            assert!(committer.wipe, "what was not executed is still to do");
        }
        committer.tried = tried("me 8", true);
        assert_eq!(committer.compare(Some("me 8")), Mark::Last);
        assert!(!committer.wipe);
        assert_eq!(committer.compare(Some("me 8")), Mark::OneBefore);
        for lost in [None, Some("me 7"), Some("junk")] {
            assert_eq!(committer.compare(lost), Mark::Missing, "{lost:?}");
        }
        assert_eq!(committer.compare(Some("other 8")), Mark::Foreign);
    }

    /// What was judged and let go before the first commit does not come again.
    #[test]
    fn before_the_first_commit_memory_goes_on_from_what_it_was_made_of() {
        let mut committer = committer();
        assert_eq!(committer.compare(None), Mark::OneBefore, "of nothing");
        assert_eq!(committer.compare(Some("other 3")), Mark::Foreign);
        committer.start_over();
        committer.begins_at(Some("other 3".to_owned()));
        assert!(!committer.wipe, "it would erase what the other wrote");
        committer.tried = tried("me 1", false);
        assert_eq!(committer.compare(Some("other 3")), Mark::OneBefore);
        assert_eq!(committer.compare(Some("other 4")), Mark::Foreign);
        assert_eq!(committer.compare(None), Mark::Missing);
    }

    /// Until the sequence thread has told its part, the old one is not erased.
    #[test]
    fn a_checkpoint_is_replaced_by_a_whole_one() {
        let mut judging = Judging::new(Recipe {
            host: "h".to_owned(),
            rules: None,
            model: ModelSource::None,
        })
        .unwrap();
        let mut committer = committer();
        committer.start_over();
        judging.all_changed();
        let early = committer.next(&judging);
        assert!(!early.wiped);
        committer.is_done(early);
        assert!(committer.wipe, "it is still to do");
        judging.sequence_failed("gone", 0);
        let whole = committer.next(&judging);
        assert!(whole.wiped);
        let fields = |tried| {
            let mut pipe = redis::pipe();
            committer.fields(&mut pipe, &judging, tried);
            String::from_utf8_lossy(&pipe.get_packed_pipeline()).into_owned()
        };
        assert!(fields(&whole).contains("\r\nDEL\r\n"));
        assert!(!fields(&tried("me 1", false).unwrap()).contains("\r\nDEL\r\n"));
        committer.is_done(whole);
        assert!(!committer.wipe);
        assert!(!committer.next(&judging).wiped);
    }
}
