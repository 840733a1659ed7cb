//! Names of metrics and labels, and everything that counts, measures or logs a happening.
//!
//! The lists are closed (3-interfaces 3.6) and a row key is never a label. Hot paths hold *meters*: handles resolved once,
//! because a look-up by name and labels costs more than the work it counts. A happening that is both logged and counted
//! is one struct with `emit`, so that neither is forgotten. Meters made before [`install`] count into nothing.
//!
//! Knows nothing of actors, stores or HTTP: the admin endpoint asks [`Metrics::render`].

mod happenings;
mod log;
mod meters;
mod names;
mod tap;
mod totals;

pub use happenings::*;
pub use log::{LogError, LogFormat, init_log};
pub use meters::*;
pub use names::*;
pub use tap::*;
pub use totals::{Summary, Totals};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of every `*_seconds` histogram: a millisecond to ten minutes, finer where the goals lie.
const SECONDS_BUCKETS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.08, 0.2, 0.4, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];

/// What the admin endpoint scrapes.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// The Prometheus text of everything measured. Series whose owner has left are not in it.
    pub fn render(&self) -> String {
        let text = self.handle.render();
        let mut out = String::with_capacity(text.len());
        for line in text.lines().filter(|line| !is_departed(line)) {
            out.push_str(line);
            out.push('\n');
        }
        out
    }

    /// Folds measured times into their buckets. Called now and then where nobody scrapes, so that they do not pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// A gauge that is not a number has lost its owner: see [`meters`].
fn is_departed(line: &str) -> bool {
    !line.starts_with('#') && line.ends_with(" NaN")
}

/// Installs the recorder of this process and describes every metric. Once per process, before any meter is made.
///
/// # Errors
/// A recorder is installed already.
pub fn install() -> Result<Metrics, BuildError> {
    let handle = builder()?.install_recorder()?;
    names::describe();
    meters::build_info();
    Ok(Metrics { handle })
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
}

#[cfg(test)]
mod tests;
