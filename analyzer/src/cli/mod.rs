//! `ravn`, the operator's tool. It speaks to Redis alone, with the reader's rights, and with the
//! operator's where it listens to the events themselves.

mod access;
mod alerts;
mod doctor;
mod events;
mod explain;
mod hosts;
mod ledger;
mod model;
mod paint;
mod record;
mod state;
mod status;
mod stopped;
mod wait;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ravn_shared::exit;

use access::Access;

/// See what RAVN thinks of this host, and why.
#[derive(Debug, Parser)]
#[command(name = "ravn", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The threat level now, its reason, and the processes behind it.
    #[command(after_help = "Example: ravn status --json | jq -r .level")]
    Status(status::Args),
    /// Every host that shares this Redis: level, score, age, reason, the worst first.
    #[command(after_help = "Example: ravn hosts --json | jq -r 'select(.level == \"HIGH\").host'")]
    Hosts(hosts::Args),
    /// The same as status, live: once a second, with rates and the last alerts, until Ctrl-C.
    #[command(
        after_help = "Example: ravn watch | tee ravn.log   (plain lines where it is no terminal)"
    )]
    Watch(watch::Args),
    /// Events as they are judged, one a line.
    #[command(
        after_help = "Example: ravn events --kind exec --kind connect\n         ravn events --pid 4242 --json"
    )]
    Events(events::Args),
    /// Why: the findings of an incident or of one alert, their processes and events, what to do.
    #[command(
        after_help = "Example: ravn explain 9f86d081884c7d65   (as ravn status and ravn alerts name it)\n         ravn explain --json | jq .findings[].next_steps   (the incident that the level follows)"
    )]
    Explain(explain::Args),
    /// The last alerts.
    #[command(after_help = "Example: ravn alerts --last 3 --json | jq .message")]
    Alerts(alerts::Args),
    /// Looks for what keeps RAVN from working here, and says how to mend it.
    #[command(
        after_help = "Example: sudo ravn doctor   (exit code 0: nothing to mend; 1: something)"
    )]
    Doctor(doctor::Args),
    /// Waits until collector and analyzer both work.
    #[command(after_help = "Example: ravn wait --seconds 30 && ravn status")]
    Wait(wait::Args),
    /// Records what is judged into a file, to train and to evaluate with.
    #[command(after_help = "Example: ravn record monday.ravnrec --seconds 3600")]
    Record(record::Args),
    /// Trains a model from recordings of ordinary work.
    #[command(after_help = "Example: ravn train --out mine.ravnmodel *.ravnrec")]
    Train(model::TrainArgs),
    /// How a model does on recordings that it was not trained on.
    #[command(after_help = "Example: ravn evaluate --model mine.ravnmodel tuesday.ravnrec")]
    Evaluate(model::EvaluateArgs),
    /// What is in a model.
    #[command(subcommand, after_help = "Example: ravn model show")]
    Model(model::Model),
    /// Says to all that nobody judges any more; for ExecStopPost= of the analyzer's unit.
    #[command(hide = true)]
    Stopped(stopped::Args),
}

/// Parses the command line and does what it asks.
pub fn main() -> ExitCode {
    // Rust ignores SIGPIPE, so that `ravn events | head` would end with an error.
    // SAFETY: the default action is a valid handler, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let cli = Cli::parse();
    let done = match cli.verb {
        Verb::Status(args) => status::run(&cli.access, &args),
        Verb::Hosts(args) => hosts::run(&cli.access, &args),
        Verb::Watch(args) => watch::run(&cli.access, &args),
        Verb::Events(args) => events::run(&cli.access, &args),
        Verb::Explain(args) => explain::run(&cli.access, &args),
        Verb::Alerts(args) => alerts::run(&cli.access, &args),
        Verb::Doctor(args) => doctor::run(&cli.access, &args),
        Verb::Wait(args) => wait::run(&cli.access, &args),
        Verb::Record(args) => record::run(&cli.access, &args),
        Verb::Train(args) => model::train(args),
        Verb::Evaluate(args) => model::evaluate(&args),
        Verb::Model(verb) => model::model(&verb),
        Verb::Stopped(args) => stopped::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ravn: {error:#}");
            ExitCode::from(exit::RUN)
        }
    }
}
