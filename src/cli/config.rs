//! The verb `config`: the effective configuration, the reference of a key or of everything, the JSON
//! Schema.

use super::args::{Config, Global, Output};
use super::exit::Exit;
use super::{out, run};
use crate::settings::{Loaded, reference};

/// How `config show` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    #[default]
    Yaml,
    Json,
}

/// Runs the verb.
pub fn run(args: &Config, global: &Global) -> Exit {
    let text = match args {
        Config::Show { origin, files } => {
            let form = if global.output == Output::Json { Form::Json } else { Form::Yaml };
            match run::load(&files.config) {
                Ok(loaded) => show(&loaded, form, *origin),
                Err(exit) => return exit,
            }
        }
        Config::Explain { key } => match explain(key) {
            Ok(text) if global.output == Output::Json => serde_json::json!({ "key": key, "text": text }).to_string(),
            Ok(text) => text,
            Err(error) => {
                out::complain(error);
                return Exit::Usage;
            }
        },
        Config::Schema => schema(),
        Config::Reference => super::reference::page(),
    };
    out::print(&text);
    Exit::Fine
}

/// `config show`: every effective value, secrets starred. With `origin`, also where each came from.
pub fn show(loaded: &Loaded, form: Form, origin: bool) -> String {
    match form {
        Form::Yaml => loaded.origin.yaml(origin),
        Form::Json => {
            let mut all = loaded.origin.json();
            let shown = if origin { all } else { all["config"].take() };
            format!("{shown}\n")
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
