//! The long run: both daemons under a mixed load, faults at random times, a row each minute, and a
//! verdict: nothing grows, everything is accounted for, nothing comes twice.

pub mod chance;
pub mod fault;
pub mod load;
pub mod row;
pub mod silence;
pub mod verdict;
pub mod world;

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ravn_shared::clock::realtime_ms;
use serde_json::json;

use crate::bench::check_stop;
use crate::harness::ledger::{alerts, check_balance_but_gaps, check_once, settled};
use crate::harness::sandbox::PATIENCE;
use chance::Chance;
use fault::{Deck, Fault};
use load::Load;
use row::Row;
use verdict::{Told, Verdict};
use world::World;

/// Between two looks at daemons and load.
const TICK: Duration = Duration::from_millis(200);
/// After a fault both must work again within this.
const BACK: Duration = Duration::from_secs(30);
/// A gap in the numbers is unexplained after three seconds; what a fault left shows within this.
const SETTLED: Duration = Duration::from_secs(6);

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long.
    pub length: Duration,
    /// Decides every fault and its time.
    pub seed: u64,
    /// Mean time between two faults.
    pub every: Duration,
    /// Events a second of the load, about.
    pub rate: f64,
}

/// A run in progress.
struct Soak {
    settings: Settings,
    world: World,
    load: Load,
    chance: Chance,
    began: Instant,
    rows: Vec<Row>,
    out: File,
    faults: u64,
    told: Told,
    /// Rows of before a daemon last began anew.
    renewed: usize,
    doing: String,
}

/// Runs it, and says whether everything held.
///
/// # Errors
/// When a daemon does not come back, the load fails, or a signal ends it.
pub fn run(settings: Settings) -> Result<bool> {
    let path = out_path()?;
    println!("seed {}; rows also in {}", settings.seed, path.display());
    let world = World::start()?;
    let load = Load::start(&world.sandbox, settings.rate, settings.seed)?;
    let mut soak = Soak {
        settings,
        world,
        load,
        chance: Chance::new(settings.seed),
        began: Instant::now(),
        rows: Vec::new(),
        out: File::create(&path).with_context(|| format!("make {}", path.display()))?,
        faults: 0,
        told: Told::default(),
        renewed: 0,
        doing: String::new(),
    };
    soak.write(
        &json!({"seed": settings.seed, "seconds": settings.length.as_secs(),
        "every_s": settings.every.as_secs_f64(), "events_per_s": settings.rate}),
    )?;
    println!("{}", Row::heading());
    let ran = soak.faults();
    if let Err(error) = &ran {
        clear_line();
        eprintln!("{}", soak.world.last_words());
        println!(
            "ended after {:.1} min: {error:#}",
            soak.began.elapsed().as_secs_f64() / 60.0
        );
    }
    ran?;
    let verdict = soak.end()?;
    clear_line();
    print!("{verdict}");
    soak.write(&verdict.json())?;
    Ok(verdict.held())
}

/// `soak/DATE.jsonl` beside the benches' folder, or in target/soak.
fn out_path() -> Result<PathBuf> {
    let folder = std::env::var_os("RAVN_SOAK_DIR")
        .map_or_else(|| Path::new("target").join("soak"), PathBuf::from);
    fs::create_dir_all(&folder).with_context(|| format!("make the folder {}", folder.display()))?;
    Ok(folder.join(format!("{}.jsonl", realtime_ms() / 1000)))
}

impl Soak {
    fn write(&mut self, value: &serde_json::Value) -> Result<()> {
        Ok(writeln!(self.out, "{value}")?)
    }

    fn left(&self) -> Duration {
        self.settings.length.saturating_sub(self.began.elapsed())
    }

    /// Faults until time is up. In the second half nobody is killed but Redis: only what runs for
    /// long shows what it keeps.
    fn faults(&mut self) -> Result<()> {
        let mut deck = Deck::default();
        loop {
            let mean = self.settings.every.as_secs_f64();
            let wait = Duration::from_secs_f64(self.chance.between(0.5 * mean, 1.5 * mean));
            "waiting".clone_into(&mut self.doing);
            self.pause(wait.min(self.left()))?;
            if self.left() < BACK {
                // What comes so late could not be waited for.
                self.pause(self.left())?;
                return Ok(());
            }
            let renewing = self.left() > self.settings.length / 2;
            let fault = deck.draw(&mut self.chance, renewing);
            self.fault(fault)?;
        }
    }

    fn fault(&mut self, fault: Fault) -> Result<()> {
        fault.name().clone_into(&mut self.doing);
        let at = self.began.elapsed().as_secs_f64();
        let how = self.inject(fault)?;
        self.faults += 1;
        if fault.renews() {
            self.renewed = self.rows.len();
        }
        let ended = Instant::now();
        self.back(ended)
            .with_context(|| format!("after {} ({how}) at {at:.0} s", fault.name()))?;
        let back_s = ended.elapsed().as_secs_f64();
        self.pause(SETTLED)?;
        let unexplained = self.world.unexplained()?;
        self.told.after(fault, &how, unexplained);
        self.write(
            &json!({"fault": fault.name(), "at_s": at, "how": how, "back_s": back_s,
            "unexplained": unexplained}),
        )
    }

    /// Waits while the load goes on and the minutes pass.
    fn pause(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.tick()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    fn tick(&mut self) -> Result<()> {
        check_stop()?;
        self.world.look()?;
        self.load.tick(&self.world.sandbox)?;
        let minute = self.rows.len() as u64 + 1;
        if self.began.elapsed() >= Duration::from_secs(60) * u32::try_from(minute)?
            && self.world.can_be_measured()
        {
            let row = self.world.measure(minute, self.faults)?;
            clear_line();
            println!("{row}");
            self.write(&row.json())?;
            self.rows.push(row);
        }
        self.progress();
        Ok(())
    }

    fn progress(&self) {
        if std::io::stderr().is_terminal() {
            let (ran, all) = (
                self.began.elapsed().as_secs(),
                self.settings.length.as_secs(),
            );
            eprint!(
                "\r\x1b[K  {}:{:02} of {}:{:02}, {} faults, {}",
                ran / 60,
                ran % 60,
                all / 60,
                all % 60,
                self.faults,
                self.doing
            );
        }
    }

    /// Waits until both daemons have beaten, and the state was written, after `ended`.
    fn back(&mut self, ended: Instant) -> Result<()> {
        let end = ended + BACK;
        let since_ms = realtime_ms();
        loop {
            self.pause(TICK)?;
            if self.world.works_since(ended, since_ms) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("not at work again after {BACK:?}: {}", self.world.said());
            }
        }
    }

    /// The load ends, everything is judged, and what must hold is looked at.
    fn end(&mut self) -> Result<Verdict> {
        let made = self.load.end()?;
        let ledger = settled(&self.world.sandbox, PATIENCE)?;
        let mut told = std::mem::take(&mut self.told);
        // The last fault was long ago.
        told.after(Fault::None, "", self.world.unexplained()?);
        told.broken_if(told.check_memory(&ledger, self.began.elapsed()));
        told.broken_if(check_balance_but_gaps(&ledger));
        told.broken_if(check_once(&alerts(&self.world.sandbox)?));
        told.broken_if(verdict::check_sums(&ledger, made));
        told.broken_if(self.world.silence.check());
        told.broken_if(self.world.check_sequences());
        ensure!(
            self.world.level()?.is_some(),
            "no threat_level at the end: {ledger}"
        );
        Ok(Verdict::new(&self.rows, self.renewed, told, ledger))
    }
}

fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
