//! A Java peer as a process of ours: one command a line, one answer a line. [`Peer::start`] is the client of HBase,
//! `peers/hbase/Peer.java`.
#![allow(dead_code, reason = "each user speaks to a peer in its own way")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Peer {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// A client of these servers for one table.
    pub fn start(servers: &[String], table: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let jars = root.join(".stack/lib/hbase");
        assert!(jars.is_dir(), "{} is not there; run ./dev test, or ./dev stack up hbase once", jars.display());
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-Dlog4j2.level=OFF", "-Dlog4j2.disable.jmx=true", "-cp"])
            .arg(jars.join("*"))
            .arg(root.join("peers/hbase/Peer.java"))
            .args([&servers.join(","), table]);
        Self::run(&mut java)
    }

    /// Any peer of this kind.
    pub fn run(java: &mut Command) -> Self {
        let piped = java.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
        let mut process = piped.expect("java is installed by ./dev test and ./dev bench");
        let commands = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, commands, answers }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// One command of these words.
    pub fn ask(&mut self, words: &[&str]) -> Vec<String> {
        writeln!(self.commands, "{}", words.join("\t")).expect("the peer is alive");
        self.answer()
    }

    /// The next line of an answer.
    pub fn answer(&mut self) -> Vec<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer is alive");
        assert!(!line.is_empty(), "the peer has ended; what it said stands above");
        line.trim_end_matches('\n').split('\t').map(str::to_owned).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
