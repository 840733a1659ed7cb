//! Arguments of `top`.

use super::{MaybeConfigFiles, values};
use clap::Args;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct Top {
    /// Between two looks.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = values::duration)]
    pub every: Duration,
    /// Look so many times, then stop; without it until Ctrl-C.
    #[arg(long, value_name = "N")]
    pub times: Option<u64>,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}
