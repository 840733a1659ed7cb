//! What a process holds, as the system says.

use std::fs;

/// A node of this shop stays below, whatever is dead (a developer's build; O4, J9).
pub const BYTES_MAX: u64 = 600 << 20;
pub const FILES_MAX: usize = 400;

#[derive(Clone, Copy, Debug)]
pub struct Vitals {
    /// Resident memory.
    pub bytes: u64,
    /// Open files and connections.
    pub files: usize,
}

pub fn of(pid: u32) -> Vitals {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0_u64);
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Vitals { bytes: kilobytes << 10, files }
}
