//! How a bench's figures are shown and kept.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::figure::{Figure, Target};

/// What one bench found.
#[derive(Debug, Default)]
pub struct Report {
    /// Figures, in the order of the table.
    pub figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub skipped: Vec<(String, String)>,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
}

impl Report {
    /// A figure that this machine or this version cannot give.
    pub fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push((what.to_owned(), why.to_owned()));
    }

    /// Whether no target was missed.
    pub fn met(&self) -> bool {
        self.figures
            .iter()
            .all(|figure| figure.met() != Some(false))
    }

    /// Prints the table and writes `NAME.json` into the folder of RAVN_BENCH_DIR (target/bench
    /// without it). `quick` marks figures of a short run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self, name: &str, quick: bool) -> Result<()> {
        self.print(name, quick);
        let folder =
            std::env::var_os("RAVN_BENCH_DIR").map_or_else(|| "target/bench".into(), PathBuf::from);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("make the folder {}", folder.display()))?;
        let path = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&self.json(name, quick))?;
        std::fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))
    }

    fn json(&self, name: &str, quick: bool) -> Value {
        let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
        let skipped: Vec<Value> = self
            .skipped
            .iter()
            .map(|(what, why)| json!({"what": what, "why": why}))
            .collect();
        json!({
            "name": name, "quick": quick, "figures": figures,
            "skipped": skipped, "notes": self.notes,
        })
    }

    fn print(&self, name: &str, quick: bool) {
        let paint = Paint::new();
        let quick = if quick {
            " (quick: not to be judged by)"
        } else {
            ""
        };
        println!("\n{}", paint.bold(&format!("{name}{quick}")));
        let rows: Vec<[String; 6]> = self.figures.iter().map(row).collect();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (figure, row) in self.figures.iter().zip(&rows) {
            let [what, value, unit, interval, runs, target] = row;
            let [a, b, c, d, e, f] = widths;
            let line = format!(
                "  {what:<a$}  {value:>b$} {unit:<c$}  {interval:<d$}  {runs:>e$}  {target:<f$}"
            );
            println!("{line}  {}", paint.verdict(figure));
        }
        for (what, why) in &self.skipped {
            println!("  {what}  skipped: {why}");
        }
        for note in &self.notes {
            println!("  note: {note}");
        }
    }
}

fn row(figure: &Figure) -> [String; 6] {
    [
        figure.what.clone(),
        digits(figure.value),
        figure.unit.to_owned(),
        format!("[{}, {}]", digits(figure.low), digits(figure.high)),
        format!("n={}", figure.runs),
        match figure.target {
            Target::AtLeast(bound) => format!("target ≥ {bound}"),
            Target::AtMost(bound) => format!("target ≤ {bound}"),
            Target::None => String::new(),
        },
    ]
}

/// Four digits that count: a ratio near 1 and a million records a second in one column.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

/// Colours, on a terminal alone.
struct Paint {
    colours: bool,
}

impl Paint {
    fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty());
        Self {
            colours: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn with(&self, code: &str, text: &str) -> String {
        if self.colours {
            return format!("\x1b[{code}m{text}\x1b[0m");
        }
        text.to_owned()
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn verdict(&self, figure: &Figure) -> String {
        match figure.missed_by() {
            None => String::new(),
            Some(by) if by <= 0.0 => self.with("32", "met"),
            Some(by) => self.with("31", &format!("NOT MET by {}", digits(by))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_says_by_how_much_its_worse_end_missed() {
        let figure = Figure::median("x", "ms", &[1.0, 3.5], Target::AtMost(3.0));
        let paint = Paint { colours: false };
        assert_eq!(paint.verdict(&figure), "NOT MET by 0.500");
        let report = Report {
            figures: vec![figure],
            ..Report::default()
        };
        assert!(!report.met());
        assert_eq!(report.json("y", true)["figures"][0]["met"], false);
        assert_eq!(report.json("y", true)["quick"], true);
    }

    #[test]
    fn numbers_keep_the_digits_that_count() {
        let shown: Vec<String> = [1.0123, 12.345, 612_345.6].map(digits).to_vec();
        assert_eq!(shown, ["1.012", "12.35", "612346"]);
    }
}
