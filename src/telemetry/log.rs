//! Setting up the log: text for a terminal, JSON for everything else, always on standard error.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    #[error(
        "`{found}` is not a log level; allowed: off, error, warn, info, debug, trace, or a list such as `info,widerow::io=debug`"
    )]
    Level { found: String },
    #[error("the log is set up already")]
    Twice,
}

/// Sets up the log of this process, once.
///
/// `levels` is one level, or several as `info,widerow::io=debug`.
///
/// # Errors
/// A text that names no level, or a second set-up.
pub fn init_log(levels: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = filter(levels)?;
    let terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let set = if json { log.json().flatten_event(true).with_current_span(false).try_init() } else { log.try_init() };
    set.map_err(|_| LogError::Twice)
}

/// A bare word that is no level would be taken as a target's name, and silence everything else.
fn filter(levels: &str) -> Result<EnvFilter, LogError> {
    let is_level = |text: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].iter().any(|level| level.eq_ignore_ascii_case(text.trim()))
    };
    for part in levels.split(',') {
        if !is_level(part.rsplit_once('=').map_or(part, |(_, level)| level)) {
            return Err(LogError::Level { found: part.trim().to_owned() });
        }
    }
    // The web server's own story of its start and end tells nobody anything; who wants it names it.
    let all = if levels.trim().eq_ignore_ascii_case("off") { levels.to_owned() } else { format!("actix_server=error,{levels}") };
    EnvFilter::try_new(all).map_err(|_| LogError::Level { found: levels.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a misspelt level is refused, not taken for a target. Method: a table of texts.
    #[test]
    fn levels_are_checked() {
        for (text, accepted) in [
            ("info", true),
            ("WARN", true),
            ("info,widerow::io=debug", true),
            ("off", true),
            ("inof", false),
            ("info,widerow::io", false),
            ("", false),
            ("info,", false),
            ("widerow=loud", false),
        ] {
            assert_eq!(filter(text).is_ok(), accepted, "{text:?}");
        }
        assert_eq!(filter("info,inof").map(|_| ()), Err(LogError::Level { found: "inof".into() }));
    }
}
