//! `etcdctl`, of the 3.4 series as packaged by Debian or of 3.7: run it, keep what it says.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::following::Following;
use super::{Cluster, find_client, skip};

/// etcdctl 3.7, built beside the judge or named; nothing after saying so loudly.
pub(crate) fn find_newest() -> Option<PathBuf> {
    let named = std::env::var_os("QUORATE_COMPAT_ETCDCTL").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judge/etcdctl");
    let program = named.unwrap_or(built);
    if !program.is_file() {
        skip("no etcdctl 3.7: build ./etcdctl in io-tokio/tests/judge");
        return None;
    }
    Some(program)
}

/// etcdctl bound to the endpoints of one cluster.
#[derive(Clone)]
pub(crate) struct Ctl {
    program: PathBuf,
    endpoints: String,
    env: Vec<(String, String)>,
}

impl Ctl {
    /// Nothing when there is no etcdctl here.
    pub(crate) fn find(cluster: &Cluster) -> Option<Self> {
        let (endpoints, env) = (cluster.endpoints(), Vec::new());
        Some(Self { program: find_client("etcdctl")?, endpoints, env })
    }

    /// The same of version 3.7; nothing after saying so loudly.
    pub(crate) fn newest(cluster: &Cluster) -> Option<Self> {
        let (endpoints, env) = (cluster.endpoints(), Vec::new());
        Some(Self { program: find_newest()?, endpoints, env })
    }

    /// The same client for other endpoints.
    pub(crate) fn at(&self, endpoints: String) -> Self {
        Self { endpoints, ..self.clone() }
    }

    /// The same client with more in its environment.
    pub(crate) fn with(&self, env: Vec<(String, String)>) -> Self {
        Self { env, ..self.clone() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", &self.endpoints);
        command.envs(self.env.iter().cloned());
        command.args(["--command-timeout=10s", "--dial-timeout=5s"]).args(args);
        command
    }

    /// Runs it to its end.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("etcdctl runs")
    }

    /// What it prints when it succeeds.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        printed(args, &self.output(args))
    }

    /// What it prints when it succeeds, given these lines to read.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> String {
        printed(args, &self.output_with_input(args, input))
    }

    /// The same, or the last line of its complaint.
    pub(crate) fn try_with_input(&self, args: &[&str], input: &str) -> Result<String, String> {
        let output = self.output_with_input(args, input);
        if output.status.success() {
            return Ok(printed(args, &output));
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(text.lines().last().unwrap_or_default().to_string())
    }

    pub(crate) fn output_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("etcdctl runs");
        let mut stdin = child.stdin.take().expect("a piped stdin");
        stdin.write_all(input.as_bytes()).expect("etcdctl reads its input");
        drop(stdin);
        child.wait_with_output().expect("our own child")
    }

    /// What it prints when it succeeds, as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.extend(["-w", "json"]);
        let text = self.run(&args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// The last line of its complaint when it fails.
    pub(crate) fn fail(&self, args: &[&str]) -> String {
        complaint(args, &self.output(args))
    }

    /// The same, given these lines to read.
    pub(crate) fn fail_with_input(&self, args: &[&str], input: &str) -> String {
        complaint(args, &self.output_with_input(args, input))
    }

    /// Starts it, to be read line by line.
    pub(crate) fn follow(&self, args: &[&str]) -> Following {
        Following::start(self.command(args))
    }
}

fn printed(args: &[&str], output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} failed: {complaint}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complaint(args: &[&str], output: &Output) -> String {
    assert!(!output.status.success(), "{args:?} should have failed");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().last().unwrap_or_default().to_string()
}
