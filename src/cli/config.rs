//! The verb `config`: the effective configuration, the reference of a key, the JSON Schema.
//!
//! Each function returns the text to print. Knows nothing of arguments or exit codes.

use crate::settings::{Loaded, reference};

/// How `config show` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    #[default]
    Yaml,
    Json,
}

/// `config show`: every effective value, secrets starred. With `origin`, also where each came from.
pub fn show(loaded: &Loaded, form: Form, origin: bool) -> String {
    match form {
        Form::Yaml => loaded.origin.yaml(origin),
        Form::Json => {
            let mut all = loaded.origin.json();
            let shown = if origin { all } else { all["config"].take() };
            format!("{shown:#}\n")
        }
    }
}

/// `config explain KEY`; without a key, the list of sections.
///
/// # Errors
/// No such key, with the nearest one.
pub fn explain(key: &str) -> Result<String, String> {
    reference::explain(key)
}

/// `config schema`: the JSON Schema of a configuration file.
pub fn schema() -> String {
    format!("{:#}\n", reference::json_schema())
}
