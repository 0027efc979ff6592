//! A Python in which a client is installed.
//!
//! `etcd3` needs an older protobuf than the other clients, hence two environments; each is named
//! by a variable or found below `target/`:
//!
//! ```text
//! QUORATE_ACCEPT_PYTHON_ETCD3   target/accept-venv-etcd3   python/requirements-etcd3.txt
//! QUORATE_ACCEPT_PYTHON         target/accept-venv         python/requirements.txt
//! ```

use std::env;
use std::path::PathBuf;
use std::process::Command;

use super::{round, skip};

/// The Python of this client, or nothing after saying loudly that the test is skipped.
pub(crate) fn find(client: &str) -> Option<PathBuf> {
    let (variable, environment) = match client {
        "etcd3" => ("QUORATE_ACCEPT_PYTHON_ETCD3", "accept-venv-etcd3"),
        _ => ("QUORATE_ACCEPT_PYTHON", "accept-venv"),
    };
    let named = env::var_os(variable).map(PathBuf::from);
    let found = round::target().join(environment).join("bin/python");
    let has_client = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", &format!("import {client}")]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let python = named.into_iter().chain([found, "python3".into()]).find(has_client);
    if python.is_none() {
        skip(&format!("a python with {client} not found"));
    }
    python
}
