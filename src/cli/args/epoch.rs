//! The words of `epoch`.

use super::MaybeConfigFiles;
use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub enum Epoch {
    /// What is remembered of each topic, what the brokers say, and whether that fits.
    Show(EpochShow),
    /// Raise a topic's epoch, so that a topic made again, grown or truncated is read on.
    Bump(EpochBump),
}

#[derive(Args, Debug)]
pub struct EpochShow {
    /// Only this topic; topics of a pattern have to be named.
    pub topic: Option<String>,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}

#[derive(Args, Debug)]
pub struct EpochBump {
    pub topic: String,
    /// Say what it would come to; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub files: MaybeConfigFiles,
}
