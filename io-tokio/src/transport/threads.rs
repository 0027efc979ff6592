//! A few threads with one runtime each: a connection lives and dies on one of them.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Most threads for clients' connections.
const IO_THREADS_MAX: usize = 4;

/// Tasks woken by other threads run before those woken here. Answers come from other threads,
/// connections are woken here by the calls that got one: so all that were answered have written
/// before their connection sends.
const REMOTE_FIRST: u32 = 1;

/// Running threads; they end when asked to.
#[derive(Debug)]
pub struct IoThreads {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    next: AtomicUsize,
    stop: watch::Sender<bool>,
}

impl IoThreads {
    /// One thread per core, up to four.
    pub fn for_clients() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::start("io", cores.min(IO_THREADS_MAX))
    }

    /// No threads: connections live on the runtime around, and end with it.
    pub fn here() -> Self {
        let (stop, _) = watch::channel(false);
        let handles = vec![Handle::current()];
        Self { handles, threads: Vec::new(), next: AtomicUsize::new(0), stop }
    }

    /// That many threads of that name.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let (stop, _) = watch::channel(false);
        let mut started = Self {
            handles: Vec::with_capacity(count),
            threads: Vec::with_capacity(count),
            next: AtomicUsize::new(0),
            stop,
        };
        for index in 0..count {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .global_queue_interval(REMOTE_FIRST)
                .build()?;
            started.handles.push(runtime.handle().clone());
            let mut stopped = started.stop.subscribe();
            let run = move || {
                // The sender is gone when the threads' owner is: the same wish.
                let _ = runtime.block_on(stopped.wait_for(|is_over| *is_over));
                runtime.shutdown_background();
            };
            let thread = std::thread::Builder::new().name(format!("{name}-{index}"));
            started.threads.push(thread.spawn(run)?);
        }
        Ok(started)
    }

    /// The next thread, in turn.
    pub fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }

    /// Runs a task on each.
    pub fn on_each<F: Future<Output = ()> + Send + 'static>(&self, task: impl Fn() -> F) {
        for handle in &self.handles {
            handle.spawn(task());
        }
    }

    /// Ends the threads, and whatever still runs on them.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}
