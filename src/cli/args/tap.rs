//! Arguments of `tap`.

use super::{MaybeConfigFiles, values};
use crate::telemetry::TapStage;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::time::Duration;

pub(super) const EXAMPLES: &str = "EXAMPLES:
  widerow tap --key 4456:2308                      one row, all the way
  widerow tap --stage job,document --max 20        the next 20 events at two stages";

#[derive(Args, Debug)]
pub struct Tap {
    /// Where to look, all stages unless told.
    #[arg(long, value_name = "STAGE", value_parser = stages(), value_delimiter = ',')]
    pub stage: Vec<TapStage>,
    /// Only rows whose key holds this text.
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
    /// Stop after this many events; 10000 at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub max: u64,
    /// Stop after this many bytes; 16777216 at most.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u64).range(1..=16 << 20))]
    pub bytes: u64,
    /// Stop after this long; 10m at most.
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    pub span: Duration,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

/// The stages as the admin endpoint calls them.
fn stages() -> impl TypedValueParser<Value = TapStage> {
    let known = TapStage::ALL.map(|stage| PossibleValue::new(stage.label()).help(stage.about()));
    PossibleValuesParser::new(known).try_map(|text| TapStage::parse(&text).ok_or("no stage"))
}
