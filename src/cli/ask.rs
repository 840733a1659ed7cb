//! Where an answer comes from: the running node, or, without one, the stores that the configuration names.
//!
//! A node is asked through its admin endpoint (`--admin`, else the address it left in its data folder). Stores are opened
//! only where no node answers: an embedded store is one process's at a time.

use super::args::{Global, MaybeConfigFiles};
use super::exit::Exit;
use super::{out, run};
use crate::admin::answers::{Code, Office, Problem};
use crate::admin::client::{ADDRESS_FILE, Client};
use crate::domain::fault::Fault;
use crate::ports::Doors;
use crate::settings::{self, Loaded, Settings};
use crate::supervisor::{block_on, wiring};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The data folder of a node that was told none.
const DATA_DIR: &str = "./data";

/// Where to ask.
pub enum Place {
    Node(Client),
    Stores(Box<Loaded>),
}

/// Finds the node, else the configuration of its stores. What went wrong is said.
///
/// # Errors
/// A configuration that cannot be used, an address where nobody answers, stores that no node has made yet.
pub fn place(global: &Global, files: &MaybeConfigFiles) -> Result<Place, Exit> {
    let token = global.token.as_deref();
    if let Some(admin) = &global.admin {
        let found = Client::find(Some(admin), None, token).map_err(|problem| refused(&problem))?;
        return found.map(Place::Node).ok_or_else(|| nobody(Path::new(DATA_DIR)));
    }
    let Some(loaded) = configured(files)? else {
        let data_dir = Path::new(DATA_DIR);
        return Client::of_data_dir(data_dir, token).map(Place::Node).ok_or_else(|| {
            let exit = nobody(data_dir);
            out::note("help: name its configuration with -c FILE to look into its stores, or a node with --admin URL");
            exit
        });
    };
    let data_dir = &loaded.settings.node.data_dir;
    if let Some(node) = Client::of_data_dir(data_dir, token) {
        return Ok(Place::Node(node));
    }
    if !wiring::has_run(&loaded.settings) {
        out::complain(format_args!("no node has run in {} yet, so there is nothing to ask", data_dir.display()));
        out::note("help: is it the right -c FILE? paths in it start at the working directory");
        return Err(Exit::Unhealthy);
    }
    Ok(Place::Stores(Box::new(loaded)))
}

/// The running node, for what only a running node has.
///
/// # Errors
/// As [`place`], and no node; `what` tells the user why one is needed.
pub fn node(global: &Global, files: &MaybeConfigFiles, what: &str) -> Result<Client, Exit> {
    if global.admin.is_some() {
        return match place(global, files)? {
            Place::Node(node) => Ok(node),
            Place::Stores(_) => Err(Exit::Unhealthy),
        };
    }
    let loaded = configured(files)?;
    let data_dir = loaded.map_or_else(|| PathBuf::from(DATA_DIR), |loaded| loaded.settings.node.data_dir);
    Client::of_data_dir(&data_dir, global.token.as_deref()).ok_or_else(|| {
        let exit = nobody(&data_dir);
        out::note(format_args!("help: {what}; `widerow run -c FILE` starts a node, --admin URL names one"));
        exit
    })
}

fn configured(files: &MaybeConfigFiles) -> Result<Option<Loaded>, Exit> {
    if files.config.is_empty() {
        return Ok(None);
    }
    // Warnings are `check`'s and `run`'s to tell.
    settings::load(&files.config, &|name| std::env::var(name).ok()).map(Some).map_err(|found| {
        run::print_findings(&found);
        Exit::BadConfig
    })
}

fn nobody(data_dir: &Path) -> Exit {
    let file = data_dir.join(ADDRESS_FILE);
    let why = if file.exists() { "names none that answers" } else { "is not there" };
    out::complain(format_args!("no node runs: {} {why}", file.display()));
    Exit::Unhealthy
}

/// Asks the node, or the stores through the same answers.
///
/// # Errors
/// What [`place`] refuses, and every problem, said.
pub fn ask<T>(
    global: &Global,
    files: &MaybeConfigFiles,
    online: impl FnOnce(&Client) -> Result<T, Problem>,
    offline: impl AsyncFnOnce(&Office) -> Result<T, Problem>,
) -> Result<T, Exit> {
    let asked = match place(global, files)? {
        Place::Node(node) => online(&node),
        Place::Stores(loaded) => {
            let settings = Arc::new(loaded.settings);
            block_on(async {
                let doors = open(&settings)?;
                let lives = wiring::topic_lives(&settings, &doors);
                let office = Office::new(Arc::clone(&settings), doors, wiring::clock).with_lives(lives);
                Ok::<_, Exit>(offline(&office).await)
            })?
        }
    };
    asked.map_err(|problem| refused(&problem))
}

/// Opens the stores of the settings; a refusal is said.
///
/// # Errors
/// A store that is open elsewhere, of another version, or cannot be reached.
pub fn open(settings: &Settings) -> Result<Doors, Exit> {
    wiring::open(settings).map_err(|fault| fault_refused(&fault))
}

/// Says a fault, and which exit code it is.
pub fn fault_refused(fault: &Fault) -> Exit {
    run::refused(fault)
}

/// Says a problem and what to do; tells its exit code.
pub fn refused(problem: &Problem) -> Exit {
    out::complain(&problem.detail);
    if !problem.help.is_empty() {
        out::note(format_args!("help: {}", problem.help));
    }
    let refusals = [
        Code::Unauthorized,
        Code::ForeignOrigin,
        Code::Conflict,
        Code::Draining,
        Code::CannotBeAsked,
        Code::NotReady,
        Code::Unreachable,
        Code::StoreFault,
    ];
    if refusals.into_iter().any(|code| problem.is(code)) {
        Exit::Unhealthy
    } else if problem.is(Code::BadRequest) {
        Exit::Usage
    } else {
        Exit::Failure
    }
}
