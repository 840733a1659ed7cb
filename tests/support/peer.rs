//! The Java client of HBase as a process of ours: `peers/hbase/Peer.java`, one command a line, one answer a line.

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
        let mut process = Command::new("java")
            .args(["-Xmx512m", "-Dlog4j2.level=OFF", "-Dlog4j2.disable.jmx=true", "-cp"])
            .arg(jars.join("*"))
            .arg(root.join("peers/hbase/Peer.java"))
            .args([&servers.join(","), table])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("java is installed by ./dev test");
        let commands = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, commands, answers }
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
