//! A YAML file as a tree that remembers where everything stood.
//!
//! Scalars keep their text until their type is known (3-interfaces 3.2). Features that hide where a value comes from
//! (aliases, merge keys, tags, several documents) are refused; size, depth and number of values have bounds.
//! Knows nothing of what the keys mean.

use super::findings::{Code, Findings};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::sync::Arc;

/// The largest file in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// How deep a file may nest.
pub const DEPTH_MAX: usize = 32;
/// How many values a file may hold.
pub const NODES_MAX: usize = 100_000;

/// A stretch of one line of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Index into [`Findings::files`].
    pub file: u16,
    /// From 1; 0 means the file as a whole.
    pub line: u32,
    /// Characters, from 1.
    pub column: u32,
    /// Characters to underline.
    pub len: u32,
}

impl Place {
    /// The file as a whole.
    pub fn of_file(file: u16) -> Self {
        Self { file, ..Self::default() }
    }
    /// A place inside this one, `skip` characters on: where a template is wrong.
    pub fn inside(self, skip: usize) -> Self {
        let skip = (skip as u32).min(self.len.saturating_sub(1));
        Self { column: self.column + skip, len: 1, ..self }
    }
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// As the user named it.
    pub path: String,
    pub text: Arc<str>,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A finding has already been made of it; whoever meets it keeps quiet.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Scalar {
    /// The text with its variables filled in.
    pub text: String,
    /// As written, where variables were filled in.
    pub written: Option<String>,
    /// Environment variables that gave the text, or a part of it.
    pub variables: Vec<String>,
    pub quoted: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Node,
}

impl Scalar {
    /// `key:` with nothing after it, `~` or `null`.
    pub fn is_null(&self) -> bool {
        !self.quoted && matches!(self.text.as_str(), "" | "~" | "null")
    }
    /// The text for a message: what the file says, never what a variable holds.
    pub fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.text)
    }
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.value)
    }
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }
    pub fn text(&self) -> Option<&str> {
        self.scalar().map(|s| s.text.as_str())
    }
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }
    pub fn is_broken(&self) -> bool {
        matches!(self.value, Value::Broken)
    }
    /// For messages: what stands here.
    pub fn shape(&self) -> &'static str {
        match &self.value {
            Value::Scalar(s) if s.is_null() => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Broken => "something unreadable",
        }
    }
}

/// Reads one file's text, already known to `findings` as file number `file`. `None`: nothing of it can be used.
pub fn parse(file: u16, text: &str, findings: &mut Findings) -> Option<Node> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("this file has {} bytes; a configuration file may have {FILE_BYTES_MAX}", text.len());
        findings.add(Code::TooBig, Place::of_file(file), message);
        return None;
    }
    let mut reader = Reader { parser: Parser::new_from_str(text), file, nodes: 0, findings };
    match reader.document() {
        Ok(node) => Some(node),
        Err(Stop::Told) => None,
        Err(Stop::Scan(error)) => {
            let mark = error.marker();
            let place = Place { file, line: mark.line().max(1) as u32, column: mark.col() as u32 + 1, len: 1 };
            let finding = findings.add(Code::Syntax, place, format!("this is not YAML: {}", error.info()));
            finding.help("a text with `{`, `:`, `#`, `*` or `%` in it needs quotes, and lists and maps are indented with spaces");
            None
        }
    }
}

/// Why a file was given up.
enum Stop {
    Scan(ScanError),
    Told,
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    file: u16,
    nodes: usize,
    findings: &'a mut Findings,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(event) => Ok(event?),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    let finding = self.findings.add(Code::Unsupported, place(self.file, span), "a second document in one file");
                    finding.help("put it into a file of its own and give both with `-c`");
                    return Err(Stop::Told);
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let empty = || Node { place: Place { file: self.file, line: 1, column: 1, len: 1 }, value: Value::Map(Vec::new()) };
        Ok(root.filter(|node| !node.is_null()).unwrap_or_else(empty))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        let place = place(self.file, span);
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            let message = format!("more than {DEPTH_MAX} levels or {NODES_MAX} values; a configuration needs neither");
            self.findings.add(Code::TooBig, place, message);
            return Err(Stop::Told);
        }
        let tagged = match &event {
            Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => tag.is_some(),
            _ => false,
        };
        if tagged {
            let finding = self.findings.add(Code::Unsupported, place, "tags (`!name`) are not read");
            finding.help("write the value alone; its key decides the type");
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let quoted = style != ScalarStyle::Plain;
                Value::Scalar(Scalar { text: text.into_owned(), quoted, ..Scalar::default() })
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => {
                let finding = self.findings.add(Code::Unsupported, place, "aliases (`*name`) are not read");
                finding.help("write the value out; what several files share goes into a file of its own");
                Value::Broken
            }
            _ => Value::Broken,
        };
        Ok(Node { place, value: if tagged { Value::Broken } else { value } })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let key_node = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            let key_place = key_node.place;
            let Some(key) = key_node.scalar().map(|s| s.text.clone()) else {
                if !key_node.is_broken() {
                    let finding = self.findings.add(Code::Unsupported, key_place, format!("{} as a key", key_node.shape()));
                    finding.help("a key is a single text; a text that begins with `{` or `[` needs quotes");
                }
                continue;
            };
            if key == "<<" {
                let finding = self.findings.add(Code::Unsupported, key_place, "merge keys (`<<`) are not read");
                finding.help("write the keys out; what several files share goes into a file of its own");
                continue;
            }
            match entries.iter().find(|e| e.key == key) {
                Some(first) => {
                    let line = first.key_place.line;
                    let finding = self.findings.add(Code::DuplicateKey, key_place, format!("`{key}` stands here twice"));
                    finding.label(format!("first on line {line}")).help("keep one of them");
                }
                None => entries.push(Entry { key, key_place, value }),
            }
        }
    }
}

fn place(file: u16, span: Span) -> Place {
    let same_line = span.start.line() == span.end.line();
    let len = if same_line { span.end.index().saturating_sub(span.start.index()).max(1) } else { 1 };
    Place { file, line: span.start.line().max(1) as u32, column: span.start.col() as u32 + 1, len: len as u32 }
}
