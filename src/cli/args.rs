//! Every verb and flag, as clap reads them (3-interfaces 3.4). What they do is in the file of the verb's name.
//!
//! The help is an interface too: `docs/reference.md` holds it word for word.

mod epoch;
mod generate;
mod rebuild;
mod tap;
mod top;

pub use self::epoch::{Epoch, EpochBump, EpochShow};
pub use self::generate::{FormatArg, Generate};
pub use self::rebuild::Rebuild;
pub use self::tap::Tap;
pub use self::top::Top;
use super::exit::Exit;
use super::values;
use crate::telemetry::LogFormat;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Keeps search indexes, caches and services equal to a MySQL database when one document is made of rows from many tables.
#[derive(Parser, Debug)]
#[command(name = "widerow", version, after_help = after_help(), propagate_version = false, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

fn after_help() -> String {
    let mut text = String::from(
        "EXAMPLES:\n  \
         widerow demo                                     a shop trades, rows merge, documents appear\n  \
         widerow check -c shop.yaml                       every fault of a configuration at once\n  \
         widerow run -c shop.yaml                         run until told to stop\n  \
         widerow row why order --key order_no=2308        one row's life across all systems\n\n\
         EXIT CODES:\n",
    );
    for exit in Exit::ALL {
        text.push_str(&format!("  {:<4} {}\n", exit.code(), exit.meaning()));
    }
    text
}

/// Flags of every verb.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Options of every verb")]
pub struct Global {
    /// How answers are printed.
    #[arg(short, long, global = true, value_enum, default_value_t, env = "WIDEROW_OUTPUT", hide_env_values = true)]
    pub output: Output,
    /// The node to ask, as http://host:port; else the address the node left in its data folder.
    #[arg(long, global = true, value_name = "URL", env = "WIDEROW_ADMIN", hide_env_values = true)]
    pub admin: Option<String>,
    /// The node's admin token, where it asks for one.
    #[arg(long, global = true, value_name = "TOKEN", env = "WIDEROW_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Log level, or a list such as info,widerow::io=debug; else info for `run` and warn for the others. The log goes to
    /// standard error.
    #[arg(long, global = true, value_name = "LEVEL", env = "WIDEROW_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// How log lines look; auto is text on a terminal and JSON otherwise.
    #[arg(long, global = true, value_enum, default_value_t, env = "WIDEROW_LOG_FORMAT", hide_env_values = true)]
    pub log_format: LogFormatArg,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Output {
    #[default]
    Text,
    Json,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormatArg {
    #[default]
    Auto,
    Text,
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(arg: LogFormatArg) -> Self {
        match arg {
            LogFormatArg::Auto => Self::Auto,
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Show it working: a generated shop, embedded store and sinks, a web page to watch.
    Demo(Demo),
    /// Run a node.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Look for faults in a configuration; all findings at once.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Look at one wide row.
    #[command(subcommand, after_help = ROW_EXAMPLES)]
    Row(Row),
    /// Look at documents in an embedded sink.
    #[command(subcommand)]
    Doc(Doc),
    /// Records that could not be used.
    #[command(subcommand, after_help = DEAD_LETTER_EXAMPLES)]
    DeadLetter(DeadLetter),
    /// Jobs that wait, run, are parked or buried.
    #[command(subcommand, after_help = JOB_EXAMPLES)]
    Job(Job),
    /// Offer jobs of a line for rows that exist. Resumes where it was left.
    #[command(after_help = rebuild::EXAMPLES)]
    Rebuild(Rebuild),
    /// Remove dead cells and tombstones older than the horizon.
    Purge(Purge),
    /// Write generated records and the documents they must end in.
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(Generate),
    /// Actors of the node, with state and health.
    Actors(Actors),
    /// Partitions of the node, with position and lag.
    Partitions(Partitions),
    /// Lanes of each line, with counts and ages.
    Lanes(Lanes),
    /// What the node does now, again and again: rates, partitions, lanes, actors that want attention.
    Top(Top),
    /// Events of the node as they happen, at one or more stages of their way; values of persons and secrets are hidden.
    #[command(after_help = tap::EXAMPLES)]
    Tap(Tap),
    /// Topics that are no longer the ones remembered (E3): what happened, and going on.
    #[command(subcommand)]
    Epoch(Epoch),
    /// The configuration in force, its keys, its schema.
    #[command(subcommand)]
    Config(Config),
    /// Print a completion script.
    Completion(Completion),
    /// Print the version.
    Version,
}

impl Cli {
    /// The log level asked for, or the verb's own: who runs a node reads its log, who asks a question reads the answer.
    pub fn log_level(&self) -> &str {
        let own = if matches!(self.verb, Verb::Run(_)) { "info" } else { "warn" };
        self.global.log.as_deref().unwrap_or(own)
    }
}

const RUN_EXAMPLES: &str = "EXAMPLES:
  widerow run -c shop.yaml
  widerow run -c base.yaml -c lines/               later files add or override by name; a folder is its *.yaml
  widerow run -c events.yaml --until-idle          read finite sources to their end, print a summary, stop
  widerow run -c events.yaml --until-idle --dry-run";

const CHECK_EXAMPLES: &str = "EXAMPLES:
  widerow check -c shop.yaml
  widerow check -c shop.yaml --connect -o json";

const ROW_EXAMPLES: &str = "EXAMPLES:
  widerow row get order 4456:2308221547134561234789456
  widerow row why order --key order_no=2308221547134561234789456";

const JOB_EXAMPLES: &str = "EXAMPLES:
  widerow job list --line order_search --state buried
  widerow job release --line order_search --state parked";

const DEAD_LETTER_EXAMPLES: &str = "EXAMPLES:
  widerow dead-letter list
  widerow dead-letter show shop.trade.orders/3/1207
  widerow dead-letter replay shop.trade.orders/3/1207";

const GENERATE_EXAMPLES: &str = "EXAMPLES:
  widerow generate --out shop --events 100000 --format canal --disorder 5% --duplicates 1%";

/// Where the configuration is.
#[derive(Args, Debug, Clone)]
pub struct ConfigFiles {
    /// A configuration file, or a folder of them; may be repeated.
    #[arg(short, long = "config", value_name = "FILE", required = true, env = "WIDEROW_CONFIG", hide_env_values = true)]
    pub config: Vec<PathBuf>,
}

/// Where the configuration is, for verbs that may also ask a running node.
#[derive(Args, Debug, Clone)]
pub struct MaybeConfigFiles {
    /// A configuration file, or a folder of them; tells where the node or its stores are. May be repeated.
    #[arg(short, long = "config", value_name = "FILE", env = "WIDEROW_CONFIG", hide_env_values = true)]
    pub config: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Demo {
    /// Stop after this long; without it the demo runs until interrupted.
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub run_for: Option<Duration>,
    /// The same seed trades the same way.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Port of the web page; 0 is any free one.
    #[arg(long, default_value_t = 7280)]
    pub port: u16,
    /// Events per second.
    #[arg(long, default_value = "200/s", value_parser = values::rate)]
    pub rate: f64,
    /// Stop after this many events.
    #[arg(long)]
    pub events: Option<u64>,
}

#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    pub files: ConfigFiles,
    /// End when finite sources are read to the end and everything is settled; prints a JSON summary line.
    #[arg(long)]
    pub until_idle: bool,
    /// Print the documents that would be written, one JSON line each; commit nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Read files from their first line, whatever was committed.
    #[arg(long)]
    pub from_start: bool,
}

#[derive(Args, Debug)]
pub struct Check {
    #[command(flatten)]
    pub files: ConfigFiles,
    /// Also reach every system, and say what is there, what is missing, which right is lacking.
    #[arg(long)]
    pub connect: bool,
}

#[derive(Subcommand, Debug)]
pub enum Row {
    /// Cells with value and stamp, and the row's version.
    Get(RowAddress),
    /// Its life across all systems: cells, jobs, what the sinks hold.
    Why(RowAddress),
}

/// One wide row.
#[derive(Args, Debug)]
pub struct RowAddress {
    /// The row kind, as in the configuration.
    pub kind: String,
    #[command(flatten)]
    pub which: RowWhich,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct RowWhich {
    /// The row key as stored, such as 4456:2308.
    #[arg(value_name = "ROWKEY")]
    pub row_key: Option<String>,
    /// A key column; repeat it for each. The kind's template makes the row key.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = values::key_column)]
    pub key: Vec<(String, String)>,
}

#[derive(Subcommand, Debug)]
pub enum Doc {
    /// One document with its version.
    Get {
        line: String,
        id: String,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
    /// Documents in id order.
    List {
        line: String,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
}

/// A stretch of a list.
#[derive(Args, Debug)]
pub struct Page {
    /// Begin after this id.
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    pub max: usize,
}

#[derive(Subcommand, Debug)]
pub enum DeadLetter {
    /// Which records, and why.
    List {
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
    /// One record with its bytes.
    Show {
        /// topic/partition/offset.
        id: String,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
    /// Send a record through the node again; it is removed once it passes.
    Replay {
        /// topic/partition/offset.
        id: String,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
}

#[derive(Subcommand, Debug)]
pub enum Job {
    /// Jobs of a line or of all.
    List {
        #[command(flatten)]
        which: JobWhich,
        /// At most this many.
        #[arg(long, default_value_t = 100)]
        max: usize,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
    /// One job with its age, tries and last fault.
    Show {
        line: String,
        row_key: String,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
    /// Put parked (or, with --state buried, dead) jobs back into their lanes; they run whatever their age.
    Release {
        #[command(flatten)]
        which: JobWhich,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
}

/// Which jobs are meant.
#[derive(Args, Debug)]
pub struct JobWhich {
    /// Only this line's.
    #[arg(long)]
    pub line: Option<String>,
    /// Only in this state.
    #[arg(long, value_enum)]
    pub state: Option<JobStateArg>,
    /// Only of this row.
    #[arg(long, value_name = "ROWKEY")]
    pub row: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStateArg {
    Waiting,
    Retry,
    Active,
    Parked,
    Spilled,
    Buried,
}

impl From<JobStateArg> for crate::ports::queue::JobState {
    fn from(arg: JobStateArg) -> Self {
        match arg {
            JobStateArg::Waiting => Self::Waiting,
            JobStateArg::Retry => Self::Retry,
            JobStateArg::Active => Self::Active,
            JobStateArg::Parked => Self::Parked,
            JobStateArg::Spilled => Self::Spilled,
            JobStateArg::Buried => Self::Buried,
        }
    }
}

#[derive(Args, Debug)]
pub struct Purge {
    /// The row kind.
    pub kind: String,
    /// Count what would go; remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

#[derive(Args, Debug)]
pub struct Actors {
    /// Only actors of this kind.
    pub kind: Option<String>,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Partitions {
    #[command(subcommand)]
    pub change: Option<PartitionChange>,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

#[derive(Subcommand, Debug)]
pub enum PartitionChange {
    /// Stop reading a partition until it is resumed.
    Pause(OnePartition),
    /// Read a paused or stopped partition again.
    Resume(OnePartition),
}

#[derive(Args, Debug)]
pub struct OnePartition {
    pub topic: String,
    pub partition: i32,
    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

#[derive(Args, Debug)]
pub struct Lanes {
    /// Only this line's.
    pub line: Option<String>,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

#[derive(Subcommand, Debug)]
pub enum Config {
    /// The configuration in force, with every default, secrets starred.
    Show {
        /// Say where each value comes from.
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        files: MaybeConfigFiles,
    },
    /// What a key means, its default and what is allowed.
    Explain {
        /// Such as queue.max_pending.
        key: String,
    },
    /// The JSON Schema of the configuration.
    Schema,
    /// Every key, finding, verb, address and metric as one page of Markdown.
    Reference,
}

#[derive(Args, Debug)]
pub struct Completion {
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests;
