//! Breadcrumbs as small files under `data_dir`: one per partition, overwritten in place (O2).
//!
//! They outlive the death of the process, which is all they are for; a power cut may take them, so nothing is synced. What
//! a note means is decided in `domain/breadcrumb`.

use crate::domain::breadcrumb::Crumb;
use crate::domain::ids::Partition;
use crate::ports::ledger::{Breadcrumbs, CrumbNote};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Three numbers and their padding; shorter ones overwrite longer ones.
const NOTE_BYTES: usize = 72;

/// The notes of one node.
pub struct FileBreadcrumbs {
    folder: PathBuf,
    /// What the process before left, until it is asked for.
    left: Mutex<HashMap<String, Crumb>>,
}

impl FileBreadcrumbs {
    /// Reads what the process before left. A folder that cannot be read or made leaves nothing: a record that kills is then
    /// found by a person.
    pub fn open(data_dir: &Path) -> Self {
        let folder = data_dir.join("breadcrumbs");
        if let Err(error) = std::fs::create_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "no breadcrumbs: a record that kills the process is not found");
        }
        let mut left = HashMap::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            if let Some(crumb) = read(&text) {
                left.insert(name, crumb);
            }
        }
        Self { folder, left: Mutex::new(left) }
    }
}

/// A topic's name holds nothing a file's name may not, but for the recorded ones of a file.
fn name(partition: Partition) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    format!("{}-{}", partition.topic.as_str().chars().map(plain).collect::<String>(), partition.number)
}

fn read(text: &str) -> Option<Crumb> {
    let mut numbers = text.split_whitespace();
    let crumb = Crumb {
        first: numbers.next()?.parse().ok()?,
        last: numbers.next()?.parse().ok()?,
        deaths: numbers.next()?.parse().ok()?,
    };
    Some(crumb)
}

impl Breadcrumbs for FileBreadcrumbs {
    fn found(&self, partition: Partition) -> Option<Crumb> {
        self.left.lock().unwrap_or_else(|e| e.into_inner()).remove(&name(partition))
    }

    fn of(&self, partition: Partition) -> Option<Box<dyn CrumbNote>> {
        let path = self.folder.join(name(partition));
        let file = File::options().create(true).truncate(false).write(true).open(path).ok()?;
        Some(Box::new(FileNote(file)))
    }
}

struct FileNote(File);

impl CrumbNote for FileNote {
    fn set(&self, crumb: Option<Crumb>) {
        let text = crumb.map_or_else(String::new, |c| format!("{} {} {}", c.first, c.last, c.deaths));
        // A note that cannot be written is a record that is not found, nothing worse.
        let _ = self.0.write_all_at(format!("{text:<NOTE_BYTES$}").as_bytes(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Name;

    /// Goal: a note outlives the process that set it, a removed one does not. Method: set, open anew, ask; remove, ask.
    #[test]
    fn a_note_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let partition = Partition { topic: Name::of("a/b"), number: 3 };
        let crumb = Crumb { first: i64::MAX - 1, last: i64::MAX, deaths: 2 };
        FileBreadcrumbs::open(dir.path()).of(partition).unwrap().set(Some(crumb));
        let after = FileBreadcrumbs::open(dir.path());
        assert_eq!((after.found(partition), after.found(partition)), (Some(crumb), None));
        after.of(partition).unwrap().set(None);
        assert_eq!(FileBreadcrumbs::open(dir.path()).found(partition), None);
    }
}
