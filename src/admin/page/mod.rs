//! The web page: what it shows, made from the same answers as the API.
//!
//! Templates and style stand beside this file; the words are in `words`, the forms of numbers in `shown`. Server-rendered,
//! nothing from elsewhere; a small script fetches the moving part again. Knows nothing of HTTP.

mod inspector;
mod live;
pub mod shown;
pub mod words;

pub use inspector::{Inspector, inspect};
pub use live::{HISTORY, Live, Seen, live};

use askama::Template;
use words::Words;

pub const STYLE: &str = include_str!("widerow.css");
pub const SCRIPT: &str = include_str!("widerow.js");

/// The whole page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page<'a> {
    pub w: &'a Words,
    pub live: Live,
    pub inspector: Inspector,
}

/// The moving part alone.
#[derive(Template)]
#[template(path = "live.html")]
pub struct Moving<'a> {
    pub w: &'a Words,
    pub live: Live,
}

/// The form that takes the token. It has no style and no script of its own: those need the token too.
#[derive(Template)]
#[template(path = "login.html")]
pub struct Login<'a> {
    pub w: &'a Words,
    pub has_token: bool,
    pub problem: String,
}
