//! Progress of long work: a moving line on a terminal, a plain line now and then where nobody watches.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines where nobody watches.
const LINE: Duration = Duration::from_secs(10);

/// Shows how far a piece of work is, on standard error.
pub struct Meter {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Meter {
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, told: Instant::now() }
    }

    /// Shows `how_far` now, if it is time to.
    pub fn show(&mut self, how_far: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.tick();
            bar.set_message(how_far());
        } else if self.told.elapsed() >= LINE {
            self.told = Instant::now();
            let _ = writeln!(std::io::stderr(), "{}", how_far());
        }
    }

    /// Prints a line above the moving one.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
