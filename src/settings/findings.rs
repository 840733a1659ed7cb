//! Everything that can be wrong with a configuration, each with a stable code, its place and what to do.
//!
//! Keeps 3-interfaces 3.2: all findings at once, in the order of the files, with file, line, column and a snippet in
//! which secrets are starred. Knows nothing of terminals; `cli` draws them.

use super::secrets::{STARS, suspicious, without_user};
use super::tree::{File, Place};
use serde::{Serialize, Serializer};

/// How much a finding weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing runs with it.
    Error,
    /// It runs, but somebody should look.
    Warning,
}

macro_rules! codes {
    ($($name:ident $code:literal $severity:ident $doc:literal;)*) => {
        /// What was found, as a closed list. A code never changes its meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Code { $(#[doc = $doc] $name,)* }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `W0101`; what tests, documents and searches use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
            /// One sentence for the reference page.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$name => $doc,)* }
            }
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    Unreadable "W0001" Error "A configuration file or folder cannot be read.";
    Syntax "W0002" Error "A file is not YAML.";
    DuplicateKey "W0003" Error "A map names one key twice.";
    Unsupported "W0004" Error "A YAML feature that hides where a value comes from: alias, merge key, tag, second document.";
    TooBig "W0005" Error "A file is larger, deeper or has more values than a configuration may have.";
    UnknownKey "W0101" Error "A key that does not exist here.";
    UnknownKind "W0102" Error "A kind of source, store, queue, sink or ledger that does not exist.";
    NotBuilt "W0103" Error "A kind or role that this version does not hold yet.";
    MissingKey "W0104" Error "A key that must be written is not.";
    NoKind "W0105" Error "A component without its kind.";
    TwoKinds "W0106" Error "A component of two kinds.";
    BadName "W0107" Error "A name that metrics, files and keys cannot carry.";
    WrongShape "W0201" Error "A map, list or single value where another of them belongs.";
    BadValue "W0202" Error "A value of another type, or not among those allowed.";
    OutOfRange "W0203" Error "A number, size or duration outside its bounds.";
    UnsetVariable "W0301" Error "An environment variable that is not set and has no default.";
    BadVariable "W0302" Error "A `${…}` that cannot be read.";
    SecretUnreadable "W0303" Error "A secret that cannot be read from where it is kept.";
    SecretMisplaced "W0304" Error "A `secret://` reference where no secret stands.";
    PlainSecret "W0305" Warning "A secret written into the file itself.";
    BadTemplate "W0401" Error "A key or id template that cannot be read.";
    UnknownTable "W0402" Error "A table that the row kind does not have.";
    NoTable "W0403" Error "A row kind that no table feeds.";
    NotAKeyColumn "W0404" Error "A route for a column that is not a key column of the row kind.";
    BadType "W0405" Error "A column type outside the closed list.";
    TypeConflict "W0406" Error "Two row kinds that say different things of one table.";
    BadMatch "W0407" Error "A pattern of sharded tables that cannot work, or that two tables share.";
    WeakKey "W0408" Warning "A key template that can give two entities one row key (M9).";
    UnknownRow "W0501" Error "A line that looks at a row kind that does not exist.";
    BadColumn "W0502" Error "A column that is not written `table.column`, or `table.*` where allowed.";
    UnknownLane "W0503" Error "A lane that the queue does not have.";
    IdNotKey "W0504" Error "A document id made of columns that are not key columns (M9).";
    NotANumber "W0505" Error "A sum, minimum or maximum of a column that is not declared as a number.";
    BadField "W0506" Error "A document field in none of the known forms.";
    NoDocument "W0507" Error "A sink that writes documents, on a line that declares none.";
    SharedDocument "W0508" Error "Two lines that write one document (K7), or a line that writes what a source reads.";
    SharedId "W0509" Warning "A document id that two entities can share.";
    ManyAsOne "W0510" Warning "One value asked of a table of which a row holds many.";
    BadLanes "W0601" Error "Lanes that cannot be served.";
    BadRetry "W0602" Error "A retry whose first pause is longer than its longest.";
    OpenAdmin "W0603" Error "An admin endpoint that others can reach, without a token.";
    PositionWeight "W0604" Warning "Binlog positions as stamps with weighed versions (E2).";
    StampFormat "W0605" Error "A stamp that the source's format does not carry (E2).";
    FormatConflict "W0606" Error "A source that is read in another format than it is written in.";
    NothingToDo "W0607" Error "A role without anything to work on.";
    Unused "W0608" Warning "Something configured that nothing uses.";
    LaneOrder "W0609" Warning "A lower lane that is served more often than a higher one.";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The line a finding points at, with secrets starred.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Snippet {
    pub text: String,
    /// Characters of `text` before the first caret.
    pub start: usize,
    /// Carets.
    pub len: usize,
}

/// One thing found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub code: Code,
    pub severity: Severity,
    pub message: String,
    pub file: String,
    /// From 1; 0 where the file itself is meant.
    pub line: u32,
    /// Characters, from 1.
    pub column: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snippet: Option<Snippet>,
    /// Stands beside the carets: mostly a did-you-mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip)]
    place: Place,
}

impl Finding {
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
    /// Says what stands beside the carets.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }
    /// Says what to do.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }
    /// Names the allowed text that is nearest to the one found, if any is near.
    pub fn nearest<'a>(&mut self, found: &str, allowed: impl IntoIterator<Item = &'a str>) -> &mut Self {
        if let Some(near) = nearest(found, allowed) {
            self.label = Some(format!("did you mean `{near}`?"));
        }
        self
    }
}

/// Collects findings while a configuration is read.
#[derive(Default)]
pub struct Findings {
    pub files: Vec<File>,
    list: Vec<Finding>,
    /// Texts that no output may hold.
    secrets: Vec<String>,
    secret_places: Vec<Place>,
}

impl Findings {
    /// Notes a finding; the caller may add a label and a help to it.
    pub fn add(&mut self, code: Code, place: Place, message: impl Into<String>) -> &mut Finding {
        let at = self.list.len();
        self.list.push(Finding {
            code,
            severity: code.severity(),
            message: message.into(),
            file: String::new(),
            line: place.line,
            column: place.column,
            snippet: None,
            label: None,
            help: None,
            place,
        });
        &mut self.list[at]
    }

    /// A text that no finding may show, and where the files hold it.
    pub fn hide(&mut self, text: &str, place: Place) {
        // A text over several lines has no length in its first one: then the rest of that line is starred.
        let len = if text.contains('\n') { u32::MAX } else { place.len };
        self.secret_places.push(Place { len, ..place });
        for line in text.lines().map(str::trim) {
            // Masking a text of a few letters would only garble messages; its place is starred anyway.
            if line.chars().count() >= 4 && line != "none" && !self.secrets.iter().any(|s| s == line) {
                self.secrets.push(line.to_owned());
            }
        }
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(Finding::is_error)
    }

    /// The findings in the order of the files, each with its snippet.
    pub fn finish(mut self) -> Vec<Finding> {
        let mut list = std::mem::take(&mut self.list);
        list.sort_by_key(|f| (f.place.file, f.place.line, f.place.column, f.code));
        list.dedup();
        for finding in &mut list {
            if let Some(file) = self.files.get(usize::from(finding.place.file)) {
                finding.file.clone_from(&file.path);
                finding.snippet = self.snippet(file, finding.place);
            }
            finding.message = self.starred(&finding.message);
            finding.label = finding.label.take().map(|text| self.starred(&text));
            finding.help = finding.help.take().map(|text| self.starred(&text));
        }
        list
    }

    fn starred(&self, text: &str) -> String {
        let text = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), STARS));
        without_user(&text)
    }

    fn snippet(&self, file: &File, place: Place) -> Option<Snippet> {
        let text = file.text.lines().nth((place.line as usize).checked_sub(1)?)?;
        let mut line: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut start = (place.column as usize).saturating_sub(1).min(line.len());
        let mut len = (place.len as usize).max(1);
        let mut hidden: Vec<(usize, usize)> = self.hidden_ranges(&line, place);
        // From the right, so that ranges further left keep their numbers.
        hidden.sort_unstable_by(|a, b| b.cmp(a));
        for (from, to) in hidden {
            let to = to.min(line.len());
            if from >= to {
                continue;
            }
            line.splice(from..to, STARS.chars());
            let shift = |at: usize| match at {
                at if at >= to => at - (to - from) + STARS.len(),
                at if at > from => from,
                at => at,
            };
            let end = shift(start + len);
            start = shift(start);
            len = end.saturating_sub(start).max(1);
        }
        let room = line.len().saturating_sub(start).max(1);
        Some(Snippet { text: line.into_iter().collect::<String>().trim_end().to_owned(), start, len: len.min(room) })
    }

    /// Where a line holds secrets: scalars known as such, their texts elsewhere, and what looks like one.
    fn hidden_ranges(&self, line: &[char], place: Place) -> Vec<(usize, usize)> {
        let here = self.secret_places.iter().filter(|p| p.file == place.file && p.line == place.line);
        let mut ranges: Vec<(usize, usize)> = here
            .map(|p| {
                (
                    (p.column as usize).saturating_sub(1),
                    ((p.column as usize).saturating_sub(1)).saturating_add(p.len as usize).min(line.len()),
                )
            })
            .collect();
        for secret in &self.secrets {
            let secret: Vec<char> = secret.chars().collect();
            let found = line.windows(secret.len()).enumerate().filter(|(_, w)| **w == secret[..]);
            ranges.extend(found.map(|(at, w)| (at, at + w.len())));
        }
        ranges.extend(suspicious(line));
        merged(ranges)
    }
}

fn merged(mut ranges: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    ranges.sort_unstable();
    let mut out: Vec<(usize, usize)> = Vec::new();
    for (from, to) in ranges {
        match out.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

/// The allowed text nearest to the one found, when a slip of the fingers explains the difference.
pub fn nearest<'a>(found: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    let limit = (found.chars().count() / 3).clamp(1, 3);
    allowed
        .into_iter()
        .map(|text| (strsim::damerau_levenshtein(&found, &text.to_lowercase()), text))
        .filter(|(distance, text)| *distance <= limit && *distance < text.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, text)| text)
}
