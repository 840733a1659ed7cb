//! The effective configuration, secrets starred, with the origin of every value.

use super::{Code, Office, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigAnswer {
    pub config: Value,
    /// Path, value and origin of every value.
    pub origins: Value,
    /// Differs when any value differs (`config_info{hash}`).
    pub hash: String,
}

impl Office {
    /// The configuration in force.
    ///
    /// # Errors
    /// The office was opened without one.
    pub fn config(&self) -> Result<ConfigAnswer, Problem> {
        let origin = self.origin.as_ref().ok_or_else(|| Problem::new(Code::Conflict, "no configuration was handed in"))?;
        let mut all = origin.json();
        Ok(ConfigAnswer { config: all["config"].take(), origins: all["origins"].take(), hash: origin.hash() })
    }
}
