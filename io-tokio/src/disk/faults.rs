//! Trouble made on purpose: what a bad disk does to the log, for tests of a whole process.
//!
//! `QUORATE_FAULT_LOG` in the environment, one of
//!
//! | Value | Effect on every sync of the log |
//! |---|---|
//! | `hang-file:<path>` | waits while that file exists |
//! | `fail-file:<path>` | fails with an I/O error if that file exists |
//! | `slow:<milliseconds>` | takes that much longer |

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The variable's name.
pub const FAULT_LOG_ENV: &str = "QUORATE_FAULT_LOG";
/// How often a hanging sync looks whether it may go on.
const POLL: Duration = Duration::from_millis(5);

/// What happens to the log's syncs.
pub trait LogFaults: Debug + Send + Sync {
    /// Runs in front of each sync; an error stands for the sync's own.
    fn before_sync(&self) -> io::Result<()>;
}

/// No trouble.
#[derive(Clone, Copy, Debug)]
pub struct NoFaults;

impl LogFaults for NoFaults {
    fn before_sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct HangWhile(PathBuf);

impl LogFaults for HangWhile {
    fn before_sync(&self) -> io::Result<()> {
        while self.0.exists() {
            std::thread::sleep(POLL);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FailWhile(PathBuf);

impl LogFaults for FailWhile {
    fn before_sync(&self) -> io::Result<()> {
        if self.0.exists() { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Slow(Duration);

impl LogFaults for Slow {
    fn before_sync(&self) -> io::Result<()> {
        std::thread::sleep(self.0);
        Ok(())
    }
}

/// Reads the variable's value; an error names what cannot be understood.
pub fn parse(value: Option<&str>) -> Result<Arc<dyn LogFaults>, String> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(Arc::new(NoFaults));
    };
    let wrong = || format!("{FAULT_LOG_ENV}: cannot understand {value:?}");
    let (kind, argument) = value.split_once(':').ok_or_else(wrong)?;
    Ok(match kind {
        "hang-file" => Arc::new(HangWhile(argument.into())),
        "fail-file" => Arc::new(FailWhile(argument.into())),
        "slow" => Arc::new(Slow(Duration::from_millis(argument.parse().map_err(|_| wrong())?))),
        _ => return Err(wrong()),
    })
}
