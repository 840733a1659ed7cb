//! Arguments of `rebuild`.

use super::{MaybeConfigFiles, values};
use clap::Args;

pub(super) const EXAMPLES: &str = "EXAMPLES:
  widerow rebuild order_search --rate 500/s
  widerow rebuild order_search --from 0000: --to 1000: --dry-run";

#[derive(Args, Debug)]
pub struct Rebuild {
    pub line: String,
    /// First row key, included.
    #[arg(long, value_name = "ROWKEY")]
    pub from: Option<String>,
    /// Last row key, not included.
    #[arg(long, value_name = "ROWKEY")]
    pub to: Option<String>,
    /// Jobs offered per second at most.
    #[arg(long, value_parser = values::rate)]
    pub rate: Option<f64>,
    /// Count the rows; offer nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}
