//! A program that runs beside a test: read line by line, typed to, killed with all it started.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How long the next line may take.
const LINE_WITHIN: Duration = Duration::from_secs(30);

/// A running program; killed when dropped, and so is what it started.
pub(crate) struct Following {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    complaint: File,
    is_over: bool,
}

impl Following {
    /// Starts a program in a process group of its own.
    pub(crate) fn start(mut command: Command) -> Self {
        let complaint = tempfile::tempfile().expect("a temporary file");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        command.stderr(complaint.try_clone().expect("a second handle"));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("a piped stdout");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { stdin: child.stdin.take(), child, lines, complaint, is_over: false }
    }

    /// The next line it prints; nothing when it prints no more.
    pub(crate) fn next_line(&self, within: Duration) -> Option<String> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line within {within:?}; it complained: {}", self.complaint())
            }
        }
    }

    /// The next so many lines it prints.
    pub(crate) fn next_lines(&self, count: usize) -> Vec<String> {
        let mut got = Vec::new();
        while got.len() < count {
            let Some(line) = self.next_line(LINE_WITHIN) else {
                panic!("it ended after the lines {got:?}; it complained: {}", self.complaint());
            };
            got.push(line);
        }
        got
    }

    /// Asserts that it stays silent for a while.
    pub(crate) fn assert_silent(&self, how_long: Duration) {
        if let Ok(line) = self.lines.recv_timeout(how_long) {
            panic!("nothing should have been printed, not {line:?}");
        }
    }

    /// Types a line.
    pub(crate) fn enter(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        writeln!(stdin, "{line}").expect("it reads its input");
    }

    /// What it wrote to its standard error so far.
    pub(crate) fn complaint(&self) -> String {
        let length = self.complaint.metadata().expect("an open file has a length").len();
        let mut text = vec![0; usize::try_from(length).expect("a short complaint")];
        // The place where it goes on writing is not moved by this.
        self.complaint.read_exact_at(&mut text, 0).expect("a file can be read");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends a signal to it and all it started.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.is_over {
            kill_process_group(Pid::from_child(&self.child), signal).expect("our own children");
        }
    }

    /// Waits for the end of a program that prints no more.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("our own child");
        self.is_over = true;
        status
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}
