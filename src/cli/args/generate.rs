//! The words of `generate`.

use super::values;
use crate::domain::decode::Format;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Generate {
    /// The same seed writes the same records.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Orders and products that exist at the start.
    #[arg(long, default_value_t = 500)]
    pub entities: u64,
    /// Records to write.
    #[arg(long, default_value_t = 10_000)]
    pub events: u64,
    #[arg(long, value_enum, default_value_t)]
    pub format: FormatArg,
    /// Folder for records.jsonl, expected.json and a config.yaml that runs them; made when missing.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Partitions per topic.
    #[arg(long, default_value_t = 4)]
    pub partitions: u32,
    /// Share of events that arrive late against other tables' events of their entity.
    #[arg(long, default_value = "0%", value_parser = values::share)]
    pub disorder: f64,
    /// Share of events delivered again.
    #[arg(long, default_value = "0%", value_parser = values::share)]
    pub duplicates: f64,
    /// Zipf exponent of the keys; 0 is uniform.
    #[arg(long, default_value = "0.99", value_parser = values::skew)]
    pub skew: f64,
    /// Share of events that go to one order.
    #[arg(long, default_value = "0%", value_parser = values::share)]
    pub hot: f64,
    /// Share of rows of 10 to 270 KB.
    #[arg(long, default_value = "0%", value_parser = values::share)]
    pub big: f64,
}

/// The formats records can be written in.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FormatArg {
    #[default]
    Debezium,
    Canal,
    Maxwell,
}

impl From<FormatArg> for Format {
    fn from(arg: FormatArg) -> Self {
        match arg {
            FormatArg::Debezium => Self::Debezium,
            FormatArg::Canal => Self::Canal,
            FormatArg::Maxwell => Self::Maxwell,
        }
    }
}
