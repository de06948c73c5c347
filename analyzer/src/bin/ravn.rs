//! The operator's tool; see [`ravn_analyzer::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ravn_analyzer::cli::main()
}
