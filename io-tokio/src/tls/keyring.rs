//! TLS as the files have it now.
//!
//! ```text
//! fresh ── looked less than a moment ago ──────────────────────> what is in use
//!      '── else: did a file change? ── read all ── it works ───> in use from now on
//!                                              '── it does not > the log says so; in use as before
//! ```
//!
//! A file that changed just now may change again within one tick of the file system's clock, and
//! look the same: it is read again until it has been at rest for [`REST_MIN`].

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use super::material::{self, Contents, Material};
use super::{Security, Source};

/// The least time between two looks at the files.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How old what is in use may be for those who come while somebody looks. Beyond it they wait for
/// that look; for as long at most, since files may be far away.
const AGE_MAX: Duration = Duration::from_secs(1);
/// How long a file must be at rest to be believed by its times.
const REST_MIN: Duration = Duration::from_secs(2);

/// Configurations of one kind of connections, kept up to date.
#[derive(Debug)]
pub struct Keyring {
    what: &'static str,
    security: Security,
    current: ArcSwap<Material>,
    /// When the last look began; locked while one is under way.
    looked_at: tokio::sync::Mutex<Instant>,
    /// When the last one ended.
    known_at: ArcSwap<Instant>,
    seen: Mutex<Seen>,
    /// Whether the files are never looked at again.
    is_kept: bool,
}

/// What was seen when the files were looked at.
#[derive(Debug)]
struct Seen {
    marks: Vec<Option<Mark>>,
    are_at_rest: bool,
    contents: Contents,
    /// Why they could not be used, the last time; it is said once.
    trouble: Option<String>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Mark {
    fn of(source: &Source) -> Option<Self> {
        let found = fs::metadata(&source.path).ok()?;
        Some(Self {
            place: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn is_at_rest(&self, now: Duration) -> bool {
        let (seconds, nanos) = self.changed;
        let seconds = u64::try_from(seconds).unwrap_or_default();
        let changed = Duration::new(seconds, u32::try_from(nanos).unwrap_or_default());
        changed + REST_MIN < now
    }
}

fn look(sources: &[&Source]) -> (Vec<Option<Mark>>, bool) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let marks: Vec<_> = sources.iter().map(|source| Mark::of(source)).collect();
    let are_at_rest = marks.iter().flatten().all(|mark| mark.is_at_rest(now));
    (marks, are_at_rest)
}

impl Keyring {
    /// Reads everything the settings name. `what` says in the log whose connections these are.
    ///
    /// # Errors
    /// Which file cannot be used, and how to mend it.
    pub fn open(what: &'static str, security: Security) -> Result<Self, String> {
        let mut security = security;
        if let Some(self_made) = &security.self_made {
            security.pair = Some(self_made.pair()?);
        }
        let sources = material::sources(&security);
        let (marks, are_at_rest) = look(&sources);
        let contents = material::read(&sources)?;
        let material = Material::build(&security, &contents)?;
        for remark in &material.remarks {
            warn!("{remark}");
        }
        Ok(Self {
            what,
            current: ArcSwap::from_pointee(material),
            looked_at: tokio::sync::Mutex::new(Instant::now()),
            known_at: ArcSwap::from_pointee(Instant::now()),
            seen: Mutex::new(Seen { marks, are_at_rest, contents, trouble: None }),
            security,
            is_kept: false,
        })
    }

    /// The same one, which keeps what it has and needs no thread to look at files.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { is_kept: true, ..self }
    }

    /// What the settings say.
    pub const fn security(&self) -> &Security {
        &self.security
    }

    /// What to use now. Files are looked at off the thread that asks, which others share.
    pub async fn fresh(self: &Arc<Self>) -> Arc<Material> {
        match self.looked_at.try_lock() {
            _ if self.is_kept => {}
            Ok(mut looked_at) if looked_at.elapsed() >= LOOK_INTERVAL => {
                *looked_at = Instant::now();
                let keyring = Arc::clone(self);
                // Whatever befalls it there, what is in use stays in use.
                let _ = tokio::task::spawn_blocking(move || keyring.reload()).await;
                self.known_at.store(Arc::new(Instant::now()));
            }
            Ok(_) => {}
            Err(_) if self.known_at.load().elapsed() > AGE_MAX => {
                // Whoever looks has looked when the lock is free.
                let _ = tokio::time::timeout(AGE_MAX, self.looked_at.lock()).await;
            }
            Err(_) => {}
        }
        self.current.load_full()
    }

    fn reload(&self) {
        let sources = material::sources(&self.security);
        let (marks, are_at_rest) = look(&sources);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.are_at_rest && seen.marks == marks {
            return;
        }
        let loaded = material::read(&sources).and_then(|contents| {
            let has_changed = contents != seen.contents;
            let built = has_changed.then(|| Material::build(&self.security, &contents));
            Ok((contents, built.transpose()?))
        });
        (seen.marks, seen.are_at_rest) = (marks, are_at_rest);
        match loaded {
            Ok((contents, Some(material))) => {
                (seen.contents, seen.trouble) = (contents, None);
                info!(connections = self.what, "TLS files have changed and are in use");
                for remark in &material.remarks {
                    warn!("{remark}");
                }
                self.current.store(Arc::new(material));
            }
            Ok((_, None)) => seen.trouble = None,
            Err(reason) if seen.trouble.as_ref() == Some(&reason) => {}
            Err(reason) => {
                error!(
                    connections = self.what,
                    error = reason,
                    "TLS files have changed and cannot be used; what they held before stays in use"
                );
                seen.trouble = Some(reason);
            }
        }
    }
}
